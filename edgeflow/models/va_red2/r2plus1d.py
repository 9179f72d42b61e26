"""R(2+1)D: every 3D convolution is one over a frame and one over time.

Source: Tran et al., A Closer Look at Spatiotemporal Convolutions (CVPR 2018), sections 3.5 and 4; widths between the two as in
its published code, each convolution's from its own channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

DYNAMIC = ("blocks.*.convs.*.spatial",)
"""The convolutions over a frame, which are three quarters of the work; those over time stay as they are."""


def between(channels: int, made: int) -> int:
    """Channels between the two convolutions at which they have as many weights as a 3x3x3 one."""
    return channels * made * 27 // (channels * 9 + 3 * made)


class Factored(nn.Module):
    """A 3x3x3 convolution as one over a frame, and one over time."""

    def __init__(self, channels: int, made: int, stride: int) -> None:
        super().__init__()
        middle = between(channels, made)
        self.spatial = nn.Conv3d(channels, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.norm = nn.BatchNorm3d(middle)
        self.temporal = nn.Conv3d(middle, made, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> (n, made, t / stride, h / stride, w / stride)."""
        made: Tensor = self.temporal(F.relu(self.norm(self.spatial(x))))
        return made


class Block(nn.Module):
    """Two factored convolutions with a way around them."""

    def __init__(self, channels: int, made: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList((Factored(channels, made, stride), Factored(made, made, 1)))
        self.norms = nn.ModuleList((nn.BatchNorm3d(made), nn.BatchNorm3d(made)))
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != made:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, made, 1, stride, bias=False), nn.BatchNorm3d(made)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> (n, made, t / stride, h / stride, w / stride)."""
        inside = F.relu(self.norms[0](self.convs[0](x)))
        return F.relu(self.norms[1](self.convs[1](inside)) + self.shortcut(x))


class R2Plus1D(nn.Module):
    """R(2+1)D with basic blocks.

    Args:
        widths: of the stages; every one but the first halves time, height and width.
        blocks: in each stage.
        stem: channels between the stem's two convolutions.
        classes: that are told apart.
    """

    def __init__(self, widths: Sequence[int], blocks: int, stem: int, classes: int) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(
            nn.Conv3d(3, stem, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(stem),
            nn.ReLU(),
            nn.Conv3d(stem, first, (3, 1, 1), padding=(1, 0, 0), bias=False),
            nn.BatchNorm3d(first),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList()
        channels = first
        for stage, width in enumerate(widths):
            for number in range(blocks):
                self.blocks.append(Block(channels, width, 2 if stage and not number else 1))
                channels = width
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, t, h, w) -> (n, classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(x.mean((2, 3, 4)))
        return scores
