"""GridNet: blends the pictures of three scales into one.

Source: Fourure et al., Residual Conv-Deconv Grid Network (2017), as in ST-MFNet, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

COLUMNS = 4
"""Columns of the grid: the first half passes downwards, the second half upwards."""
MIDDLE = 1
"""The row that is read out."""


class Lateral(nn.Module):
    """PReLU and a 3x3 convolution, twice, added to the input."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.branch = _twice(channels, out, 1)
        self.skip = nn.Conv2d(channels, out, 3, padding=1) if channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, out, h, w)."""
        made: Tensor = self.branch(x) + self.skip(x)
        return made


def _twice(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.PReLU(),
        nn.Conv2d(channels, out, 3, stride, 1),
        nn.PReLU(),
        nn.Conv2d(out, out, 3, padding=1),
    )


def _up(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), *_twice(channels, out, 1)
    )


class GridNet(nn.Module):
    """Three rows of four columns.

    The published code also computes the last two columns of the finest row, which nothing reads: 29% of the Mini's arithmetic here.
    They have their weights, since those are counted and stored, and are not run.

    Args:
        inputs: channels of the pictures, finest row first.
        channels: of the rows.
    """

    def __init__(self, inputs: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.ModuleList([Lateral(given, own), *(Lateral(own, own) for _ in range(COLUMNS - 1))])
            for given, own in zip(inputs, channels, strict=True)
        )
        pairs = list(pairwise(channels))
        half = COLUMNS // 2
        self.down = nn.ModuleList(nn.ModuleList(_twice(a, b, 2) for _ in range(half)) for a, b in pairs)
        self.up = nn.ModuleList(nn.ModuleList(_up(b, a) for _ in range(half)) for a, b in pairs)
        self.last = Lateral(channels[MIDDLE], 3)

    def forward(self, *pictures: Tensor) -> Tensor:
        """Pictures (n, c, h, w), each half as large as the one before -> (n, 3, h / 2, w / 2)."""
        rows = list(pictures)
        for column in range(COLUMNS // 2):
            for row in range(len(rows)):
                rows[row] = self.lateral[row][column](rows[row])  # type: ignore[index]
                if row:
                    rows[row] = rows[row] + self.down[row - 1][column](rows[row - 1])  # type: ignore[index]
        for column in range(COLUMNS // 2):
            for row in reversed(range(MIDDLE, len(rows))):
                rows[row] = self.lateral[row][column + COLUMNS // 2](rows[row])  # type: ignore[index]
                if row + 1 < len(rows):
                    rows[row] = rows[row] + self.up[row][column](rows[row + 1])  # type: ignore[index]
        made: Tensor = self.last(rows[MIDDLE])
        return made
