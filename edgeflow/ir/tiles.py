"""Tile geometry: which pixels an engine is fed, and which of them it answers for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError


@dataclass(frozen=True)
class Region:
    """The patch of the frame that one tile answers for, in pixels; bottom and right are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class TileGrid:
    """A frame covered by square tiles of one size.

    Along each side, the fewest tiles are taken that leave `halo` pixels on both sides of
    every seam. Patches share the side evenly, but the first and the last are longer by the
    halo that they need not hold at the frame's edge. Tiles are moved inside the frame, so that
    at the frame's edge a tile holds real pixels instead of padding; only a frame smaller than a
    tile is padded (its last row and column repeated).

    A network that shrinks its input computes another function where a tile begins off its grid. With a
    `multiple`, tiles begin at multiples of it, and the last ones reach beyond a frame whose sides are none
    (by repeated rows and columns, as such networks are fed whole frames).

    Attributes:
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        size: side of a tile, in pixels.
        halo: pixels that a tile holds beyond its patch, at every seam.
        multiple: tiles begin at multiples of so many pixels; divides the size.
    """

    height: int
    width: int
    size: int
    halo: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.size) < 1 or not 0 <= 2 * self.halo < self.size:
            raise FlowError(
                f"cannot tile {self.width}x{self.height} with tiles of {self.size} and a halo of {self.halo}: "
                "sizes are positive and the tile is larger than two halos"
            )
        if self.multiple < 1 or self.size % self.multiple or self.size - 2 * self.halo < self.multiple:
            raise FlowError(
                f"tiles of {self.size} with a halo of {self.halo} cannot begin at multiples of {self.multiple}: "
                "that divides the tile's size, and a tile without its halos is no smaller"
            )

    @property
    def rows(self) -> int:
        """Tiles from top to bottom."""
        return len(_cover(self.height, self))

    @property
    def columns(self) -> int:
        """Tiles from left to right."""
        return len(_cover(self.width, self))

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def origins(self) -> tuple[tuple[int, int], ...]:
        """Top-left pixel of each tile, row by row."""
        return _places(self)[0]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The patch of each tile, row by row. Together they cover the frame once."""
        return _places(self)[1]

    def cut(self, frame: NDArray[Any], order: NDArray[np.intp], out: NDArray[Any]) -> None:
        """Copy tiles out of a frame.

        Args:
            frame: (height, width, channels).
            order: tile numbers, in the order wanted.
            out: (len(order), size, size, channels), filled.
        """
        origins = self.origins
        for position, number in enumerate(order):
            top, left = origins[number]
            tile = frame[top : top + self.size, left : left + self.size]
            rows, columns = tile.shape[:2]
            out[position, :rows, :columns] = tile
            if columns < self.size:
                out[position, :rows, columns:] = tile[:, -1:]
            if rows < self.size:
                out[position, rows:] = out[position, rows - 1]

    def paste(self, tile: NDArray[np.generic], number: int, frame: NDArray[np.generic]) -> None:
        """Write a tile's patch into the frame: tile (size, size, channels), frame (height, width, channels).

        Both may be larger by one factor, as of a network that enlarges its input.
        """
        (top, left), region = self.places(number, tile.shape[0] // self.size)
        frame[region.top : region.bottom, region.left : region.right] = tile[
            region.top - top : region.bottom - top, region.left - left : region.right - left
        ]

    def places(self, number: int, scale: int = 1) -> tuple[tuple[int, int], Region]:
        """Origin and patch of a tile in a frame that is larger by a factor."""
        (top, left), region = self.origins[number], self.regions[number]
        patch = Region(*(scale * side for side in (region.top, region.left, region.bottom, region.right)))
        return (scale * top, scale * left), patch

    def cells(self, map_height: int, map_width: int) -> list[tuple[int, int, int, int]]:
        """Top, left, bottom and right (exclusive) of the cells that each patch touches of a map that lies over the frame."""
        height, width = self.height, self.width
        return [
            (
                r.top * map_height // height,
                r.left * map_width // width,
                -(-r.bottom * map_height // height),
                -(-r.right * map_width // width),
            )
            for r in self.regions
        ]

    def ramps(self, scale: int = 1) -> NDArray[np.float32]:
        """How much each tile counts where tiles fade into each other: (tiles, size, size) float32, times the scale.

        A tile counts 1 over its patch but for the halo's width around a seam, through which it falls off evenly
        to its end; together they are divided by their sum. Without a halo nothing overlaps.
        """
        size = scale * self.size
        places = scale * np.arange(self.size * scale) / scale
        found = []
        for number in range(len(self)):
            (top, left), region = self.places(number, scale)
            rows = _ramp(places + top, region.top, region.bottom, scale * self.height, scale * self.halo)
            columns = _ramp(places + left, region.left, region.right, scale * self.width, scale * self.halo)
            found.append(np.outer(rows, columns))
        return np.stack(found).reshape(-1, size, size).astype(np.float32)

    def pooling(self, map_height: int, map_width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Two matrices that average a map lying over the frame to one value per patch.

        Returns:
            (rows, map_height) and (map_width, columns) float32: `rows @ map @ columns`. A map cell
            counts by the share of it that the patch covers.
        """
        return _pooling(self, map_height, map_width)


def pool_map(scores: NDArray[np.float32], grid: TileGrid, how: str = "mean") -> NDArray[np.float32]:
    """A map's values for each patch: (values, h, w) -> (tiles, values).

    Args:
        scores: the map, which lies over the frame.
        grid: whose patches they are.
        how: `mean`, in which a cell counts by the share of it that the patch covers; or `max`, of the cells that it touches.
    """
    if how == "max":
        spans = grid.cells(*scores.shape[-2:])
        return np.stack([scores[:, top:bottom, left:right].max((1, 2)) for top, left, bottom, right in spans])
    rows, columns = grid.pooling(*scores.shape[-2:])
    pooled = (rows @ scores @ columns).astype(np.float32, copy=False)
    return pooled.reshape(len(scores), -1).T


def _ramp(places: NDArray[np.float64], first: int, last: int, length: int, halo: int) -> NDArray[np.float64]:
    """Weight of pixels along one side: 1 inside the patch, falling to 0 a halo's width beyond a seam."""
    before = np.ones_like(places) if first == 0 else (places + 0.5 - first + halo) / max(2 * halo, 1)
    after = np.ones_like(places) if last == length else (last + halo - places - 0.5) / max(2 * halo, 1)
    inside = (places >= first - halo) & (places < last + halo) & (places < length)
    return np.where(inside, np.clip(np.minimum(before, after), 1e-6, 1), 0)


def blend(tiles: NDArray[np.float32], grid: TileGrid) -> NDArray[np.float32]:
    """A frame (c, height, width) of tiles (tiles, c, size, size), which fade into each other over their halos."""
    scale = tiles.shape[-1] // grid.size
    side = [max(starts) + grid.size for starts in zip(*grid.origins, strict=True)]
    frame = np.zeros(
        (tiles.shape[1], scale * max(side[0], grid.height), scale * max(side[1], grid.width)), np.float32
    )
    weights = np.zeros(frame.shape[1:], np.float32)
    for (top, left), tile, ramp in zip(grid.origins, tiles, _ramps(grid, scale), strict=True):
        rows = slice(scale * top, scale * (top + grid.size))
        columns = slice(scale * left, scale * (left + grid.size))
        frame[:, rows, columns] += ramp * tile
        weights[rows, columns] += ramp
    made = frame / np.maximum(weights, np.float32(1e-12))
    return np.ascontiguousarray(made[:, : scale * grid.height, : scale * grid.width])


@lru_cache(maxsize=8)
def _ramps(grid: TileGrid, scale: int) -> NDArray[np.float32]:
    return grid.ramps(scale)


@lru_cache(maxsize=256)
def _cover(length: int, grid: TileGrid) -> tuple[tuple[int, int, int], ...]:
    """(tile start, patch start, patch end) along one side."""
    if length <= grid.size:
        return ((0, 0, length),)
    if grid.multiple > 1:
        return _cover_on_grid(length, grid)
    return _cover_evenly(length, grid.size, grid.halo)


def _cover_evenly(length: int, size: int, halo: int) -> tuple[tuple[int, int, int], ...]:
    """Patches share the side evenly, each in the middle of its tile."""
    count = ceil((length - 2 * halo) / (size - 2 * halo))
    inner = length - 2 * halo
    bounds = [0, *(halo + i * inner // count for i in range(1, count)), length]
    cover = []
    for first, last in pairwise(bounds):
        centred = (first + last - size) // 2
        cover.append((max(0, min(centred, length - size)), first, last))
    return tuple(cover)


def _cover_on_grid(length: int, grid: TileGrid) -> tuple[tuple[int, int, int], ...]:
    """Tiles begin on the grid, as evenly as it lets them; patches meet in the middle of what two tiles share."""
    size, multiple = grid.size, grid.multiple
    steps = ceil((length - size) / multiple)  # of the last tile's start
    longest = (size - 2 * grid.halo) // multiple  # between two starts
    count = 1 + ceil(steps / longest)
    starts = [multiple * (i * steps // (count - 1)) for i in range(count)]
    seams = [(start + size + after) // 2 for start, after in pairwise(starts)]
    return tuple(zip(starts, [0, *seams], [*seams, length], strict=True))


@lru_cache(maxsize=64)
def _places(grid: TileGrid) -> tuple[tuple[tuple[int, int], ...], tuple[Region, ...]]:
    """Origin and patch of each tile."""
    ys, xs = _cover(grid.height, grid), _cover(grid.width, grid)
    return (
        tuple((y[0], x[0]) for y in ys for x in xs),
        tuple(Region(y[1], x[1], y[2], x[2]) for y in ys for x in xs),
    )


@lru_cache(maxsize=64)
def _pooling(
    grid: TileGrid, map_height: int, map_width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    ys = [(y[1], y[2]) for y in _cover(grid.height, grid)]
    xs = [(x[1], x[2]) for x in _cover(grid.width, grid)]
    return _overlaps(ys, grid.height, map_height), _overlaps(xs, grid.width, map_width).T.copy()


def _overlaps(spans: list[tuple[int, int]], length: int, cells: int) -> NDArray[np.float32]:
    edges = np.arange(cells + 1) * (length / cells)
    weights = np.empty((len(spans), cells))
    for i, (first, last) in enumerate(spans):
        weights[i] = np.clip(np.minimum(edges[1:], last) - np.maximum(edges[:-1], first), 0, None)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
