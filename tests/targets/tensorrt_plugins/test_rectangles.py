"""Tiles are cut and pasted by one kernel, run thread by thread, as they are on the host."""

from __future__ import annotations

import numpy as np
import pytest
from host_cudart import HostCudart

from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime.backends.device_memory import DeviceMemory
from edgeflow.runtime.backends.memory import HostMemory
from edgeflow.runtime.backends.rectangles import RectangleKernel, kernel_of


class AtOnce:
    """A stream that does not put off what is enqueued: the kernel runs when it is launched, too."""

    def enqueue(self, stream, work):
        work()

    def run(self, stream):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "size", "channels"),
    [(90, 150, 16, 3), (96, 160, 32, 3), (64, 160, 32, 4), (37, 53, 8, 1)],
    ids=["bytes-at-odd-places", "words", "sixteen-bytes", "bytes"],
)
def test_tiles_are_cut_and_pasted_as_on_the_host(cpu_library, height, width, size, channels):
    cudart = HostCudart(AtOnce())
    memory, host = DeviceMemory(cudart, cudart.stream()), HostMemory()
    memory.kernel = RectangleKernel(cpu_library)
    grid = TileGrid(height, width, size, 2)
    random = np.random.default_rng(0)
    order = random.permutation(len(grid)).astype(np.intp)
    frame = random.integers(0, 256, (height, width, channels), np.uint8)
    wanted = np.empty((len(grid), size, size, channels), np.uint8)
    host.cut(frame, grid, order, wanted)
    uploaded = memory.upload(frame)
    above = memory.upload(np.ascontiguousarray(wanted.transpose(0, 3, 1, 2)).astype(np.float32))
    tiles = memory.empty(wanted.shape, np.uint8)
    picture, planes = memory.empty(frame.shape, np.uint8), memory.empty((channels, height, width), np.float32)
    copies = cudart.copies
    memory.cut(uploaded, grid, order, tiles)
    memory.paste([tiles[i] for i in range(len(grid))], grid, order, picture)
    memory.paste([above[i] for i in range(len(grid))], grid, order, planes)
    assert cudart.copies == copies, "all by the kernel"
    np.testing.assert_array_equal(memory.download(tiles), wanted)
    np.testing.assert_array_equal(memory.download(picture), frame)
    np.testing.assert_array_equal(memory.download(planes), frame.transpose(2, 0, 1).astype(np.float32))


def test_a_library_that_is_damaged_or_older_has_no_kernel(tmp_path, cpu_library):
    from edgeflow.ir.bundle.built_here import record_built
    from edgeflow.ir.files import sha256_of

    library = tmp_path / "libedgeflow_plugins.so"
    library.write_bytes(cpu_library.read_bytes() + b"another")
    assert kernel_of(library) is None, "nothing says that it was built here"
    record_built(sha256_of(library))
    assert kernel_of(library) is not None
    other = tmp_path / "no_library.so"
    other.write_bytes(b"not a library")
    record_built(sha256_of(other))
    assert kernel_of(other) is None
