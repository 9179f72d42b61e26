"""ResNets whose blocks shift channels in time: TSM, without a parameter more than the ResNet.

Source: He et al., Deep Residual Learning (CVPR 2016), Table 1; Lin et al., TSM (ICCV 2019), section 3 (residual shift).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFTED = 8
"""An eighth of the channels takes the next frame's, an eighth the last frame's."""


@dataclass(frozen=True)
class Depth:
    """A ResNet's size.

    Attributes:
        blocks: in each of the four stages.
        widths: of the stages, before expansion.
        expansion: channels that leave a block over its width: 1 for two 3x3 convolutions, 4 for a bottleneck.
    """

    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    expansion: int = 4


DEPTHS = {
    "r18": Depth((2, 2, 2, 2), expansion=1),
    "r50": Depth((3, 4, 6, 3)),
    "r101": Depth((3, 4, 23, 3)),
    "tiny": Depth((1, 1, 1, 1), (16, 32, 64, 96), expansion=1),
}


def shift(x: Tensor, frames: int) -> Tensor:
    """Move an eighth of the channels by a frame each way; zeros where there is no frame.

    Args:
        x: (n * frames, c, h, w), the frames of a clip one after another.
        frames: of a clip.
    """
    clips = x.reshape(-1, frames, *x.shape[1:])
    part = x.shape[1] // SHIFTED
    later = F.pad(clips[:, 1:, :part], (0, 0, 0, 0, 0, 0, 0, 1))
    earlier = F.pad(clips[:, :-1, part : 2 * part], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat([later, earlier, clips[:, :, 2 * part :]], 2).reshape(x.shape)


class Block(nn.Module):
    """A residual block; its branch alone sees shifted channels.

    Args:
        channels: that come in.
        width: of the branch.
        stride: of its 3x3 convolution.
        expansion: see `Depth`.
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        made = width * expansion
        sizes = (
            [(width, 3, stride), (made, 3, 1)]
            if expansion == 1
            else [(width, 1, 1), (width, 3, stride), (made, 1, 1)]
        )
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        before = channels
        for after, side, step in sizes:
            self.convs.append(nn.Conv2d(before, after, side, step, side // 2, bias=False))
            self.norms.append(nn.BatchNorm2d(after))
            before = after
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != made:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, made, 1, stride, bias=False), nn.BatchNorm2d(made)
            )

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(n * frames, c, h, w) -> (n * frames, width * expansion, ...)."""
        made = shift(x, frames)
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), 1):
            made = norm(conv(made))
            if number < len(self.convs):
                made = F.relu(made)
        return F.relu(made + self.shortcut(x))


class FramesInTurn(nn.Module):
    """A network of residual blocks that sees a clip's frames one after another, and takes the mean of what it says of each.

    Its blocks are called with the number of frames, among which they alone look sideways.
    """

    stem: nn.Module
    norm: nn.Module
    pool: nn.Module
    blocks: nn.ModuleList
    dropout: nn.Module
    head: nn.Module

    def forward(self, clip: Tensor) -> Tensor:
        """(n, t, 3, h, w) -> (n, classes)."""
        return self.judge(self.look(clip.flatten(0, 1)), clip.shape[1])

    def look(self, frames: Tensor) -> Tensor:
        """What no other frame changes: (n, 3, h, w) -> (n, c, h / 4, w / 4)."""
        made: Tensor = self.pool(F.relu(self.norm(self.stem(frames))))
        return made

    def judge(self, x: Tensor, frames: int) -> Tensor:
        """Features of frames (n * frames, c, h / 4, w / 4) -> (n, classes)."""
        for block in self.blocks:
            x = block(x, frames)
        scores: Tensor = self.head(self.dropout(x.mean((2, 3))))
        return scores.reshape(-1, frames, scores.shape[1]).mean(1)


class TSM(FramesInTurn):
    """A clip's scores: the mean over its frames of what a ResNet with temporal shift says.

    Args:
        depth: of the ResNet.
        classes: that are told apart.
        dropout: before the last layer, in training.
    """

    def __init__(self, depth: Depth, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        stem = depth.widths[0]
        self.stem = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.ModuleList(_blocks(depth))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(depth.widths[-1] * depth.expansion, classes)


def _blocks(depth: Depth) -> Sequence[Block]:
    found, channels = [], depth.widths[0]
    for stage, (count, width) in enumerate(zip(depth.blocks, depth.widths, strict=True)):
        for number in range(count):
            stride = 2 if stage and not number else 1
            found.append(Block(channels, width, stride, depth.expansion))
            channels = width * depth.expansion
    return found
