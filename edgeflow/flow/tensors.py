"""Frames and tiles as torch tensors; `edgeflow.ir.tiles` holds the geometry of tiles."""

from __future__ import annotations

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


def pool_map(scores: torch.Tensor, grid: TileGrid) -> torch.Tensor:
    """Average a map over each patch: (n, values, h, w) -> (n, tiles, values)."""
    rows, columns = (torch.from_numpy(m).to(scores) for m in grid.pooling(*scores.shape[-2:]))
    return (rows @ scores @ columns).flatten(2).transpose(1, 2)
