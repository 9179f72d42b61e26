"""Cheap measures of frames and tiles, to route by: they run in the router's graph, without weights.

Each is a segment: `f.call(self.change, tiles, state.seen)` gives a number for every tile, which a rule such as
`Table((0.02,))` makes a route of.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Difference(nn.Module):
    """Mean absolute difference of two pictures, in units of the pictures: of the frame to the last one, of a tile to what it was.

    Args:
        cells: (rows, columns) of a map that lies over the picture; one number if None.
    """

    def __init__(self, cells: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) twice -> (n, 1), or a map (n, 1, rows, columns)."""
        return _summed((now - before).abs().mean(1, keepdim=True), self.cells)


class GradientEnergy(nn.Module):
    """Mean absolute difference of neighbouring pixels: low where a picture is flat, and needs little.

    Args:
        cells: (rows, columns) of a map that lies over the picture; one number if None.
    """

    def __init__(self, cells: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) -> (n, 1), or a map (n, 1, rows, columns)."""
        across = F.pad((x[..., :, 1:] - x[..., :, :-1]).abs(), (0, 1))
        down = F.pad((x[..., 1:, :] - x[..., :-1, :]).abs(), (0, 0, 0, 1))
        return _summed((across + down).mean(1, keepdim=True), self.cells)


class LargestChange(nn.Module):
    """Mean squared difference of two pictures where they differ most, in squares of 8x8 pixels: a ball that rolls through counts as much as rain.

    Args:
        cells: (rows, columns) of a map that lies over the picture, of the largest in every cell; one number if None.
    """

    SQUARE = 8

    def __init__(self, cells: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) twice, sides multiples of 8 -> (n, 1), or a map (n, 1, rows, columns)."""
        squares = F.avg_pool2d((now - before).square().mean(1, keepdim=True), self.SQUARE)
        return squares.amax((2, 3)) if self.cells is None else F.adaptive_max_pool2d(squares, self.cells)


def sampled(picture: torch.Tensor, canvas: tuple[int, int]) -> torch.Tensor:
    """So many rows and columns of a picture, evenly picked: they tell what changes as well as all of them.

    Args:
        picture: (n, c, h, w).
        canvas: rows and columns of what is returned.
    """
    rows, columns = (evenly(side, count) for side, count in zip(picture.shape[-2:], canvas, strict=True))
    return picture.permute(0, 2, 3, 1).index_select(1, rows).index_select(2, columns).permute(0, 3, 1, 2)


def evenly(length: int, count: int) -> torch.Tensor:
    """So many positions on a side, evenly picked: (count,)."""
    return torch.arange(count) * length // count


def _summed(values: torch.Tensor, cells: tuple[int, int] | None) -> torch.Tensor:
    """Means of a plane (n, 1, h, w)."""
    return values.mean((2, 3)) if cells is None else F.adaptive_avg_pool2d(values, cells)
