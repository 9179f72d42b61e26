"""X3D-M: pointwise, depthwise, pointwise, with squeeze and excitation in every other block; ReLU where it had swish.

Source: Feichtenhofer, X3D (CVPR 2020), Table 3; VA-RED2, section 4, leaves swish out: ReLU takes its place here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DYNAMIC = ("blocks.*.expand", "blocks.*.reduce")
"""The pointwise convolutions: depthwise ones cannot be halved by a prefix, and take a tenth of the work."""
STEM, WIDTHS, BLOCKS = 24, (24, 48, 96, 192), (3, 5, 11, 7)
EXPANSION, SQUEEZED = 2.25, 16
HEAD = (432, 2048)


class Squeeze(nn.Module):
    """Scales channels by what they are on average (squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = _round(channels / SQUEEZED)
        self.down = nn.Conv3d(channels, narrow, 1)
        self.up = nn.Conv3d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> the same."""
        mean = x.mean((2, 3, 4), keepdim=True)
        return x * torch.sigmoid(self.up(F.relu(self.down(mean))))


class Block(nn.Module):
    """Expand, look at neighbours channel by channel, reduce; with a way around.

    Args:
        channels: that come in.
        made: that leave.
        stride: in height and width.
        squeezes: whether it has squeeze and excitation.
    """

    def __init__(self, channels: int, made: int, stride: int, squeezes: bool) -> None:
        super().__init__()
        inner = int(EXPANSION * made)
        self.expand = nn.Conv3d(channels, inner, 1, bias=False)
        self.depthwise = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        self.reduce = nn.Conv3d(inner, made, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for width in (inner, inner, made))
        self.squeeze = Squeeze(inner) if squeezes else nn.Identity()
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != made:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, made, 1, (1, stride, stride), bias=False), nn.BatchNorm3d(made)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> (n, made, t, h / stride, w / stride)."""
        inside = F.relu(self.norms[0](self.expand(x)))
        inside = F.relu(self.squeeze(self.norms[1](self.depthwise(inside))))
        return F.relu(self.norms[2](self.reduce(inside)) + self.shortcut(x))


class X3D(nn.Module):
    """X3D-M.

    Args:
        classes: that are told apart.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, STEM, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
            nn.Conv3d(STEM, STEM, (5, 1, 1), padding=(2, 0, 0), groups=STEM, bias=False),
            nn.BatchNorm3d(STEM),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList()
        channels = STEM
        for width, count in zip(WIDTHS, BLOCKS, strict=True):
            for number in range(count):
                self.blocks.append(Block(channels, width, 1 if number else 2, not number % 2))
                channels = width
        inner, wide = HEAD
        self.last = nn.Sequential(nn.Conv3d(channels, inner, 1, bias=False), nn.BatchNorm3d(inner), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(inner, wide, bias=False), nn.ReLU(), nn.Linear(wide, classes))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, t, h, w) -> (n, classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.last(x).mean((2, 3, 4)))
        return scores


def _round(width: float) -> int:
    """To a multiple of 8, no more than a tenth below."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
