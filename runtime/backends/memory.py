"""Where tensors live between engines: the host's memory, or a device's.

An array of a device offers what the executor does with one of numpy: `shape`, `dtype`, `len()`, and its
rows as `array[i]` and `array[first:last]`, without copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgeflow.ir.tiles import TileGrid


class Memory(Protocol):
    """What the executor does to tensors beside running engines.

    Attributes:
        settled: runs on the same arrays after which an engine runs as it will from then on; 0 where they don't matter.
    """

    settled: int

    def begin_frame(self) -> None:
        """What earlier uploads gave may be written over from now on."""

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> Any:
        """A C-contiguous array with any content."""

    def upload(self, array: NDArray[Any]) -> Any:
        """The host's array here: itself, or a copy that is valid until the next frame."""

    def download(self, array: Any) -> NDArray[Any]:
        """The array on the host: itself, or a copy."""

    def download_all(self, arrays: Sequence[Any]) -> list[NDArray[Any]]:
        """Small arrays on the host: themselves, or what is valid until the next download."""

    def wait(self) -> None:
        """Until all that was enqueued is done."""

    def mark(self) -> Any:
        """A point in time: now, or when all that was enqueued so far is done. It holds until the next frame."""

    def between(self, start: Any, end: Any) -> float:
        """Milliseconds from one mark to another, both past."""

    def copy_rows(self, source: Any, rows: NDArray[np.intp], target: Any) -> None:
        """`target[i] = source[rows[i]]` for every row of the target."""

    def cut(self, frame: Any, grid: TileGrid, order: NDArray[np.intp], tiles: Any) -> None:
        """See `TileGrid.cut`: frame (height, width, channels) uint8, or planes (channels, height, width) of floats."""

    def paste(self, tiles: Sequence[Any], grid: TileGrid, order: NDArray[np.intp], picture: Any) -> None:
        """Write tiles' patches into a picture.

        Args:
            tiles: one per number, each (h, w, channels) uint8 or (channels, h, w) float32.
            grid: of the tiles.
            order: numbers of the tiles.
            picture: of the same layout.
        """


class HostMemory:
    """Arrays of numpy."""

    settled = 0

    def begin_frame(self) -> None:
        """Nothing to do: uploads are the caller's own arrays."""

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """See `Memory.empty`."""
        return np.empty(shape, dtype)

    def upload(self, array: NDArray[Any]) -> NDArray[Any]:
        """See `Memory.upload`."""
        # OpenVINO shares only writeable memory; a frame that is read-only is copied
        return np.require(array, requirements=["C", "W"])

    def download(self, array: NDArray[Any]) -> NDArray[Any]:
        """See `Memory.download`."""
        return array

    def download_all(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """See `Memory.download_all`."""
        return list(arrays)

    def wait(self) -> None:
        """Nothing to do: engines on the host return when they are done."""

    def mark(self) -> float:
        """See `Memory.mark`."""
        return perf_counter()

    def between(self, start: float, end: float) -> float:
        """See `Memory.between`."""
        return (end - start) * 1e3

    def copy_rows(self, source: NDArray[Any], rows: NDArray[np.intp], target: NDArray[Any]) -> None:
        """See `Memory.copy_rows`."""
        np.take(source, rows, 0, target, "clip")

    def cut(self, frame: Any, grid: TileGrid, order: NDArray[np.intp], tiles: Any) -> None:
        """See `Memory.cut`."""
        if frame.dtype == np.uint8:
            grid.cut(frame, order, tiles)
        else:
            grid.cut(frame.transpose(1, 2, 0), order, tiles.transpose(0, 2, 3, 1))

    def paste(self, tiles: Sequence[Any], grid: TileGrid, order: NDArray[np.intp], picture: Any) -> None:
        """See `Memory.paste`."""
        planes = picture.dtype != np.uint8
        target = picture.transpose(1, 2, 0) if planes else picture
        for tile, number in zip(tiles, order.tolist(), strict=True):
            grid.paste(tile.transpose(1, 2, 0) if planes else tile, number, target)
