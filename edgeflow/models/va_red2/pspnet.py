"""PSPNet on a dilated ResNet-18: what every part of a picture shows.

Source: Zhao et al., Pyramid Scene Parsing Network (CVPR 2017), section 3; Yu et al., Dilated Residual Networks (CVPR 2017); He et al., Deep
Residual Learning (CVPR 2016), Table 1. Three 3x3 convolutions begin it, as is usual with ADE20K: with these its encoder is at the paper's GMAC.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DYNAMIC = ("encoder.blocks.*.first", "encoder.blocks.*.second")
STAGES = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
"""Width, stride and dilation of the stages, of two blocks each."""
BINS = (1, 2, 3, 6)
"""Sides of the pyramid's grids."""


class Block(nn.Module):
    """Two 3x3 convolutions with a way around them."""

    def __init__(self, channels: int, made: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        one, two = dilations
        self.first = nn.Conv2d(channels, made, 3, stride, one, one, bias=False)
        self.second = nn.Conv2d(made, made, 3, 1, two, two, bias=False)
        self.norms = nn.ModuleList((nn.BatchNorm2d(made), nn.BatchNorm2d(made)))
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != made:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, made, 1, stride, bias=False), nn.BatchNorm2d(made)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, made, h / stride, w / stride)."""
        inside = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(inside)) + self.shortcut(x))


class Encoder(nn.Module):
    """A ResNet-18 that ends at an eighth of the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        stem: list[nn.Module] = []
        for before, after, stride in ((3, 64, 2), (64, 64, 1), (64, 128, 1)):
            stem += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.stem = nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.ModuleList()
        channels = 128
        for width, stride, dilation in STAGES:
            half = max(1, dilation // 2)
            self.blocks.append(Block(channels, width, stride, (half, dilation)))
            self.blocks.append(Block(width, width, 1, (dilation, dilation)))
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, 512, h / 8, w / 8)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x


class PSPNet(nn.Module):
    """Scores of classes at an eighth of the picture's size.

    Args:
        classes: that are told apart.
        bins: sides of the pyramid's grids.
    """

    def __init__(self, classes: int, bins: Sequence[int] = BINS) -> None:
        super().__init__()
        self.encoder = Encoder()
        width = STAGES[-1][0]
        self.bins = tuple(bins)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for _ in bins
        )
        joined = width * (1 + len(self.bins))
        self.head = nn.Sequential(
            nn.Conv2d(joined, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, classes, h / 8, w / 8)."""
        seen = self.encoder(x)
        found = [seen]
        for side, level in zip(self.bins, self.levels, strict=True):
            pooled = level(F.adaptive_avg_pool2d(seen, side))
            found.append(
                F.interpolate(
                    pooled, size=(seen.shape[2], seen.shape[3]), mode="bilinear", align_corners=False
                )
            )
        scores: Tensor = self.head(torch.cat(found, 1))
        return scores
