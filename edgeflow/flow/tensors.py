"""Tile geometry on torch tensors; `edgeflow.ir.tiles` holds the geometry itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgeflow.ir.tiles import TileGrid


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
