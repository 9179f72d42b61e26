"""Frames and tiles as torch tensors; `edgeflow.ir.tiles` holds the geometry of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgeflow.ir.tiles import TileGrid


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """What the model sees of a run-time input: bytes ([t,] h, w, 3) -> (1, [t,] 3, h, w) in [0, 1]."""
    if array.dtype == np.uint8:
        order = (2, 0, 1) if array.ndim == 3 else (0, 3, 1, 2)
        return torch.from_numpy(array.copy()).permute(order).float().unsqueeze(0) / 255
    return torch.from_numpy(array.copy()).unsqueeze(0)


def cut_tile(frame: torch.Tensor, grid: TileGrid, number: int) -> torch.Tensor:
    """Tile `number` of a frame: (n, c, height, width) -> (n, c, size, size)."""
    top, left = grid.origins[number]
    tile = frame[..., top : top + grid.size, left : left + grid.size]
    missing = (0, grid.size - tile.shape[-1], 0, grid.size - tile.shape[-2])
    return F.pad(tile, missing, mode="replicate") if any(missing) else tile


def paste_tile(tile: torch.Tensor, grid: TileGrid, number: int, frame: torch.Tensor) -> None:
    """Write the patch of a tile (c, size, size) into a frame (c, height, width); both may be larger by one factor."""
    (top, left), region = grid.places(number, tile.shape[-1] // grid.size)
    frame[:, region.top : region.bottom, region.left : region.right] = tile[
        :, region.top - top : region.bottom - top, region.left - left : region.right - left
    ]


def blend_tiles(tiles: Sequence[torch.Tensor], grid: TileGrid) -> torch.Tensor:
    """A frame (1, c, height, width) of tiles (1, c, size, size) each, which fade into each other over their halos."""
    scale = tiles[0].shape[-1] // grid.size
    ramps = torch.from_numpy(grid.ramps(scale)).to(tiles[0])
    side = max(max(start) for start in zip(*grid.origins, strict=True)) + grid.size
    frame = tiles[0].new_zeros(
        tiles[0].shape[1], scale * max(side, grid.height), scale * max(side, grid.width)
    )
    weights = torch.zeros_like(frame[0])
    for (top, left), tile, ramp in zip(grid.origins, tiles, ramps, strict=True):
        rows = slice(scale * top, scale * (top + grid.size))
        columns = slice(scale * left, scale * (left + grid.size))
        frame[:, rows, columns] += ramp * tile[0]
        weights[rows, columns] += ramp
    made = frame / weights.clamp(min=1e-12)
    return made[None, :, : scale * grid.height, : scale * grid.width]


def pool_map(scores: torch.Tensor, grid: TileGrid, how: str = "mean") -> torch.Tensor:
    """A map's `mean` or `max` of each patch: (n, values, h, w) -> (n, tiles, values)."""
    if how == "max":
        spans = grid.cells(*scores.shape[-2:])
        return torch.stack(
            [scores[..., top:bottom, left:right].amax((-2, -1)) for top, left, bottom, right in spans], 1
        )
    rows, columns = (torch.from_numpy(m).to(scores) for m in grid.pooling(*scores.shape[-2:]))
    return (rows @ scores @ columns).flatten(2).transpose(1, 2)
