"""Tensors in a CUDA device's memory. All copies are enqueued on one stream, in order."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime.backends.memory import HostMemory
from edgeflow.runtime.backends.rectangles import Rectangle, RectangleKernel
from edgeflow.targets.cudart import ANYWHERE, DEVICE_TO_HOST, HOST_TO_DEVICE, Cudart

CAPTURED_AFTER = 3
"""Runs of an engine on the same addresses after which the next is recorded as a CUDA graph.

On an H200 recording, making, first launching and freeing a graph of 20 to 400 kernels costs what 2.4 to 3.1 launches of it
save over enqueueing the kernels (benchmarks/results/on_gpu.json).
"""


class DeviceArray:
    """A C-contiguous array in device memory.

    Attributes:
        address: of its first byte.
        shape: of the array.
        dtype: numpy's.
        owner: keeps the memory until no array looks at it.
    """

    def __init__(self, address: int, shape: Sequence[int], dtype: DTypeLike, owner: object) -> None:
        self.address, self.shape, self.dtype, self.owner = address, tuple(shape), np.dtype(dtype), owner

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | None) -> DeviceArray:
        if key is None:
            return DeviceArray(self.address, (1, *self.shape), self.dtype, self.owner)
        row = self.nbytes // len(self) if len(self) else 0
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            assert step == 1, "rows of a device array lie together"
            count = max(last - first, 0)
            return DeviceArray(self.address + first * row, (count, *self.shape[1:]), self.dtype, self.owner)
        first = range(len(self))[key]
        return DeviceArray(self.address + first * row, self.shape[1:], self.dtype, self.owner)


class _Block:
    """Device memory that is given back when nothing looks at it any more."""

    def __init__(self, cudart: Cudart, size: int) -> None:
        self._cudart, self.address = cudart, cudart.malloc(size)

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._cudart.free(self.address)


class _Pinned:
    """Pinned host memory, as bytes that numpy can look at."""

    def __init__(self, cudart: Cudart, size: int) -> None:
        self._cudart, self.address, self.size = cudart, cudart.host_alloc(size), size

    def array(self, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Its first bytes as an array; numpy has no float16 over a raw pointer, so bytes are viewed."""
        size = prod(shape) * dtype.itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.address)
        found: NDArray[Any] = np.ctypeslib.as_array(raw).view(dtype).reshape(shape)
        return found

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._cudart.free_host(self.address)


class DeviceMemory:
    """`Memory` of a CUDA device. Frames go through pinned buffers; on Jetson the device reads them in place.

    Args:
        cudart: the CUDA runtime.
        stream: that all copies, and the engines, are enqueued on; given back with the memory.

    Attributes:
        kernel: that copies tiles and patches; None where there is none.
    """

    settled = CAPTURED_AFTER + 1

    def __init__(self, cudart: Cudart, stream: int) -> None:
        self.cudart, self.stream = cudart, stream
        self._events: list[int] = []
        self._marks = 0
        self.kernel: RectangleKernel | None = None
        self._zero_copy = cudart.integrated
        self._staging: dict[tuple[str, int, int], _Pinned] = {}
        self._uploads = 0
        self._targets: dict[tuple[int, int], DeviceArray] = {}

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See `Memory.empty`."""
        block = _Block(self.cudart, prod(shape) * np.dtype(dtype).itemsize)
        return DeviceArray(block.address, shape, dtype, block)

    def begin_frame(self) -> None:
        """See `Memory.begin_frame`: uploads take the first buffers again, marks the first events."""
        self._uploads = self._marks = 0

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """See `Memory.upload`."""
        number, self._uploads = self._uploads, self._uploads + 1
        pinned = self._pinned("up", number, array.nbytes)
        np.copyto(pinned.array(array.shape, array.dtype), array)
        if self._zero_copy:
            address = self.cudart.device_address(pinned.address)
            return DeviceArray(address, array.shape, array.dtype, pinned)
        target = self._targets.get((number, array.nbytes))
        if target is None:
            target = self._targets[number, array.nbytes] = self.empty((array.nbytes,), np.uint8)
        self.cudart.copy(target.address, pinned.address, array.nbytes, HOST_TO_DEVICE, self.stream)
        return DeviceArray(target.address, array.shape, array.dtype, target.owner)

    def download(self, array: DeviceArray) -> NDArray[Any]:
        """See `Memory.download`. Waits for all work before it."""
        pinned = self._pinned("down", 0, array.nbytes)
        self.cudart.copy(pinned.address, array.address, array.nbytes, DEVICE_TO_HOST, self.stream)
        self.cudart.synchronise(self.stream)
        return pinned.array(array.shape, array.dtype).copy()

    def download_all(self, arrays: Sequence[DeviceArray]) -> list[NDArray[Any]]:
        """See `Memory.download_all`. Waits once, for all work before it."""
        pinned = [self._pinned("small", number, array.nbytes) for number, array in enumerate(arrays)]
        for target, array in zip(pinned, arrays, strict=True):
            self.cudart.copy(target.address, array.address, array.nbytes, DEVICE_TO_HOST, self.stream)
        if arrays:
            self.cudart.synchronise(self.stream)
        return [target.array(a.shape, a.dtype) for target, a in zip(pinned, arrays, strict=True)]

    def wait(self) -> None:
        """See `Memory.wait`."""
        self.cudart.synchronise(self.stream)

    def mark(self) -> int:
        """See `Memory.mark`: an event on the stream."""
        number, self._marks = self._marks, self._marks + 1
        if number == len(self._events):
            self._events.append(self.cudart.event())
        self.cudart.record(self._events[number], self.stream)
        return self._events[number]

    def between(self, start: int, end: int) -> float:
        """See `Memory.between`."""
        return self.cudart.elapsed_ms(start, end)

    def copy_rows(self, source: DeviceArray, rows: NDArray[np.intp], target: DeviceArray) -> None:
        """See `Memory.copy_rows`: one copy per run of neighbouring rows."""
        row = source.nbytes // len(source)
        for place, first, count in _runs(rows):
            to, start = target.address + place * row, source.address + first * row
            self.cudart.copy(to, start, count * row, ANYWHERE, self.stream)

    def cut(self, frame: DeviceArray, grid: TileGrid, order: NDArray[np.intp], tiles: DeviceArray) -> None:
        """See `Memory.cut`. Where a tile reaches beyond the frame, all are cut, and padded, on the host."""
        planes = frame.dtype != np.uint8
        height, width = frame.shape[1:] if planes else frame.shape[:2]
        bottom, right = (max(starts) + grid.size for starts in zip(*grid.origins, strict=True))
        if bottom > height or right > width:
            HostMemory().cut(self.download(frame), grid, order, padded := np.empty(tiles.shape, tiles.dtype))
            self.copy_rows(self.upload(padded), np.arange(len(tiles)), tiles)
            return
        count, pixel = (frame.shape[0], frame.dtype.itemsize) if planes else (1, frame.shape[2])
        row = grid.size * pixel
        rectangles = []
        for position, number in enumerate(order):
            top, left = grid.origins[number]
            for plane in range(count):
                start = frame.address + ((plane * height + top) * width + left) * pixel
                target = tiles[position].address + plane * grid.size * row
                rectangles.append(Rectangle(start, target, row, grid.size))
        self._copy(rectangles, width * pixel, row)

    def paste(
        self, tiles: Sequence[DeviceArray], grid: TileGrid, order: NDArray[np.intp], picture: DeviceArray
    ) -> None:
        """See `Memory.paste`."""
        side = tiles[0].shape[1]
        planes = picture.dtype != np.uint8
        pixel = picture.dtype.itemsize * (1 if planes else picture.shape[2])
        height, width = picture.shape[1:] if planes else picture.shape[:2]
        rectangles = []
        for tile, number in zip(tiles, order.tolist(), strict=True):
            (top, left), region = grid.places(number, side // grid.size)
            patch = (region.right - region.left) * pixel, region.bottom - region.top
            for plane in range(tile.shape[0] if planes else 1):
                source = plane * side**2 + (region.top - top) * side + region.left - left
                target = plane * height * width + region.top * width + region.left
                rectangles.append(
                    Rectangle(tile.address + source * pixel, picture.address + target * pixel, *patch)
                )
        self._copy(rectangles, side * pixel, width * pixel)

    def _copy(self, rectangles: Sequence[Rectangle], source_pitch: int, target_pitch: int) -> None:
        """By one kernel, where there is one that CUDA takes; else by a copy each."""
        if self.kernel and self.kernel.copy(rectangles, source_pitch, target_pitch, self.stream):
            return
        self.kernel = None
        for one in rectangles:
            ends = one.target, target_pitch, one.source, source_pitch
            self.cudart.copy_2d(*ends, one.width, one.height, ANYWHERE, self.stream)

    def __del__(self) -> None:
        for event in self._events:
            self.cudart.free_event(event)
        self.cudart.free_stream(self.stream)

    def _pinned(self, way: str, number: int, size: int) -> _Pinned:
        key = (way, number, size)
        if key not in self._staging:
            self._staging[key] = _Pinned(self.cudart, size)
        return self._staging[key]


def _runs(rows: NDArray[np.intp]) -> Iterator[tuple[int, int, int]]:
    """(place in the target, first row, how many) of neighbouring rows."""
    breaks = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for first, last in itertools.pairwise(breaks):
        if last > first:
            yield first, int(rows[first]), last - first
