"""SlowFast: one path sees few frames in many channels, another many frames in few, and tells the first.

Source: Feichtenhofer et al., SlowFast Networks (ICCV 2019), section 3 and Table 1 (ResNet-50, alpha 4, beta 1/8, time-strided convolutions of 7 frames
as lateral connections).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ALPHA = 4
"""Frames of the fast path for one of the slow path."""
BETA = 8
"""Channels of the slow path for one of the fast path."""
LATERAL = 7
"""Frames that a lateral connection sees."""
TWICE = 2
"""Channels of a lateral connection over those of the fast path."""
EXPANSION = 4
SLOW_FRAMES, FAST_FRAMES = (1, 1, 3, 3), (3, 3, 3, 3)
"""Frames that the first convolution of a block sees, by stage."""


@dataclass(frozen=True)
class Depth:
    """A size.

    Attributes:
        blocks: in each of the four stages.
        width: of the slow path's first stage; each stage doubles it.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64


class Block(nn.Module):
    """A bottleneck whose first convolution sees some frames.

    Args:
        channels: that come in.
        width: of the bottleneck.
        frames: of the first convolution.
        stride: of its 1x3x3 convolution.
    """

    def __init__(self, channels: int, width: int, frames: int, stride: int) -> None:
        super().__init__()
        made = width * EXPANSION
        self.convs = nn.ModuleList(
            [
                nn.Conv3d(channels, width, (frames, 1, 1), 1, (frames // 2, 0, 0), bias=False),
                nn.Conv3d(width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
                nn.Conv3d(width, made, 1, bias=False),
            ]
        )
        self.norms = nn.ModuleList(nn.BatchNorm3d(channels) for channels in (width, width, made))
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != made:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, made, 1, (1, stride, stride), bias=False), nn.BatchNorm3d(made)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> (n, width * 4, t, ...)."""
        narrow, mix, widen = zip(self.convs, self.norms, strict=True)
        made = F.relu(narrow[1](narrow[0](x)))
        made = F.relu(mix[1](mix[0](made)))
        return F.relu(widen[1](widen[0](made)) + self.shortcut(x))


class Stem(nn.Sequential):
    """The first convolution of a path, which sees some frames: (n, 3, t, h, w) -> (n, width, t, h / 4, w / 4)."""

    def __init__(self, width: int, frames: int) -> None:
        conv = nn.Conv3d(3, width, (frames, 7, 7), (1, 2, 2), (frames // 2, 3, 3), bias=False)
        super().__init__(
            conv, nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        )


class Lateral(nn.Sequential):
    """What the fast path tells the slow one: (n, c, alpha * t, h, w) -> (n, 2 * c, t, h, w)."""

    def __init__(self, channels: int) -> None:
        conv = nn.Conv3d(
            channels, TWICE * channels, (LATERAL, 1, 1), (ALPHA, 1, 1), (LATERAL // 2, 0, 0), bias=False
        )
        super().__init__(conv, nn.BatchNorm3d(TWICE * channels), nn.ReLU())


class SlowFast(nn.Module):
    """A clip's scores. Clips have a multiple of four frames, of which the slow path sees every fourth.

    Args:
        depth: its size.
        classes: that are told apart.
        dropout: before the last layer, in training.
    """

    def __init__(self, depth: Depth, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        width, narrow = depth.width, depth.width // BETA
        self.slow_stem, self.fast_stem = Stem(width, 1), Stem(narrow, 5)
        self.laterals = nn.ModuleList([Lateral(narrow)])
        self.slow, self.fast = nn.ModuleList(), nn.ModuleList()
        slow, fast = width + TWICE * narrow, narrow
        for stage, count in enumerate(depth.blocks):
            stride = 1 if stage == 0 else 2
            self.slow.append(_stage(slow, width << stage, SLOW_FRAMES[stage], stride, count))
            self.fast.append(_stage(fast, narrow << stage, FAST_FRAMES[stage], stride, count))
            slow, fast = (width << stage) * EXPANSION, (narrow << stage) * EXPANSION
            if stage < len(depth.blocks) - 1:
                self.laterals.append(Lateral(fast))
                slow += TWICE * fast
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(slow + fast, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """(n, t, 3, h, w) -> (n, classes)."""
        frames = clip.transpose(1, 2)
        slow, fast = self.slow_stem(frames[:, :, ::ALPHA]), self.fast_stem(frames)
        for lateral, slowly, quickly in zip(self.laterals, self.slow, self.fast, strict=True):
            slow, fast = slowly(torch.cat([slow, lateral(fast)], 1)), quickly(fast)
        features = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
        scores: Tensor = self.head(self.dropout(features))
        return scores


def _stage(channels: int, width: int, frames: int, stride: int, count: int) -> nn.Sequential:
    """Blocks, of which the first halves the frames' sides if it has a stride."""
    first = Block(channels, width, frames, stride)
    others = (Block(width * EXPANSION, width, frames, 1) for _ in range(count - 1))
    return nn.Sequential(first, *others)
