"""TEA: a Res2Net-50 that excites what moves, and aggregates over time part by part.

Source: Li et al., TEA: Temporal Excitation and Aggregation (CVPR 2020), sections 3.1 and 3.2; the network is Res2Net-50 26w 4s (Gao et al.).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.models.fan.resnet import FramesInTurn

BLOCKS, WIDTHS = (3, 4, 6, 3), (64, 128, 256, 512)
PARTS, PART_WIDTH = 4, 26
"""Parts of a block's channels, and channels of each where the width is 64."""
SQUEEZED = 16
EXPANSION = 4


class Excitation(nn.Module):
    """Lets channels speak up that change from a frame to the next.

    Args:
        channels: of the frames.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = channels // SQUEEZED
        self.squeeze = nn.Conv2d(channels, inside, 1, bias=False)
        self.squeezed = nn.BatchNorm2d(inside)
        self.ahead = nn.Conv2d(inside, inside, 3, 1, 1, groups=inside, bias=False)
        self.widen = nn.Conv2d(inside, channels, 1, bias=False)
        self.widened = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(n * frames, c, h, w), the frames of a clip one after another."""
        small = self.squeezed(self.squeeze(x))
        now, after = (part.reshape(-1, frames, *small.shape[1:]) for part in (small, self.ahead(small)))
        change = F.pad(after[:, 1:] - now[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).reshape(small.shape)
        loud = torch.sigmoid(self.widened(self.widen(change.mean((2, 3), keepdim=True)))) - 0.5
        return x + x * loud


class OverTime(nn.Module):
    """A convolution over three frames, channel by channel, without bias.

    Args:
        channels: of the frames.
        shifting: whether half of them begin as the next frame's, half as the last frame's; else all as they are.
    """

    def __init__(self, channels: int, shifting: bool) -> None:
        super().__init__()
        weight = torch.zeros(3, channels)
        if shifting:
            weight[2, : channels // 2] = weight[0, channels // 2 :] = 1
        else:
            weight[1] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(n * frames, c, h, w), the frames of a clip one after another; zeros where there is no frame."""
        clips = x.reshape(-1, frames, *x.shape[1:])
        before = F.pad(clips[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        after = F.pad(clips[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
        last, own, following = (row.reshape(-1, 1, 1) for row in self.weight)
        made: Tensor = (before * last + clips * own + after * following).reshape(x.shape)
        return made


class Block(nn.Module):
    """A residual block of parts: each but the last reads what the one before made.

    Args:
        channels: that come in.
        width: see `WIDTHS`.
        stride: of its 3x3 convolutions.
        first: of its stage, in which parts do not read each other.
    """

    def __init__(self, channels: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.part, made = width * PART_WIDTH // 64, width * EXPANSION
        inside = self.part * PARTS
        self.first = first
        self.narrow, self.narrowed = nn.Conv2d(channels, inside, 1, bias=False), nn.BatchNorm2d(inside)
        self.excite = Excitation(inside)
        self.times = nn.ModuleList(OverTime(self.part, shifting=number > 0) for number in range(PARTS))
        self.convs = nn.ModuleList(
            nn.Conv2d(self.part, self.part, 3, stride, 1, bias=False) for _ in range(PARTS - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(self.part) for _ in range(PARTS - 1))
        self.pool = nn.AvgPool2d(3, stride, 1) if first else nn.Identity()
        self.widen, self.widened = nn.Conv2d(inside, made, 1, bias=False), nn.BatchNorm2d(made)
        self.shortcut = nn.Sequential()
        if first:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, made, 1, stride, bias=False), nn.BatchNorm2d(made)
            )

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(n * frames, c, h, w) -> (n * frames, width * 4, ...)."""
        excited = self.excite(F.relu(self.narrowed(self.narrow(x))), frames)
        *parts, last = excited.split(self.part, 1)
        made: list[Tensor] = []
        for part, time, conv, norm in zip(parts, self.times, self.convs, self.norms, strict=False):
            read = part if self.first or not made else part + made[-1]
            made.append(F.relu(norm(conv(time(read, frames)))))
        made.append(self.pool(self.times[-1](last, frames)))
        return F.relu(self.widened(self.widen(torch.cat(made, 1))) + self.shortcut(x))


class TEA(FramesInTurn):
    """A clip's scores: the mean over its frames.

    Args:
        classes: that are told apart.
        dropout: before the last layer, in training.
    """

    def __init__(self, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, channels = [], 64
        for stage, (count, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
            for number in range(count):
                blocks.append(Block(channels, width, 2 if stage and not number else 1, number == 0))
                channels = width * EXPANSION
        self.blocks = nn.ModuleList(blocks)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(channels, classes)
