"""Tensors in a device's memory, on a double whose device is the host and whose streams are queues."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from host_cudart import HostCudart
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime.backends.device_memory import DeviceMemory
from edgeflow.runtime.backends.memory import HostMemory


class Streams:
    """Runs what is enqueued when somebody waits."""

    def __init__(self):
        self.work, self.recording = [], {}

    def enqueue(self, stream, work):
        self.work.append(work)

    def run(self, stream):
        work, self.work = self.work, []
        for one in work:
            one()


@pytest.fixture(params=[False, True], ids=["discrete", "integrated"])
def memory(request):
    cudart = HostCudart(Streams(), integrated=request.param)
    return DeviceMemory(cudart, cudart.stream())


def test_what_goes_up_comes_down(memory, random):
    arrays = [random.random((3, 5)).astype(np.float16), random.integers(0, 9, (2, 2, 3)).astype(np.uint8)]
    held = [memory.upload(array) for array in (*arrays, arrays[0] + 1)]
    for array, device in zip((*arrays, arrays[0] + 1), held, strict=True):
        np.testing.assert_array_equal(memory.download(device), array)
        np.testing.assert_array_equal(memory.download(device[1]), array[1])
        np.testing.assert_array_equal(memory.download(device[1:2]), array[1:2])
        np.testing.assert_array_equal(memory.download(device[None]), array[None])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.booleans())
def test_rows_are_copied_as_on_the_host(rows, integrated):
    cudart = HostCudart(Streams(), integrated=integrated)
    memory, host = DeviceMemory(cudart, cudart.stream()), HostMemory()
    source = np.arange(7 * 4, dtype=np.float32).reshape(7, 2, 2)
    target, wanted = memory.empty((len(rows), 2, 2), np.float32), np.empty((len(rows), 2, 2), np.float32)
    memory.copy_rows(memory.upload(source), np.array(rows), target)
    host.copy_rows(source, np.array(rows), wanted)
    np.testing.assert_array_equal(memory.download(target), wanted)
    ups = 0 if integrated else 1
    breaks = 1 + sum(b != a + 1 for a, b in itertools.pairwise(rows))
    assert cudart.copies == ups + breaks + 1, "one copy per run of neighbours"


@settings(max_examples=40, deadline=None)
@given(
    st.integers(6, 60),
    st.integers(6, 60),
    st.integers(2, 5),
    st.integers(0, 3),
    st.sampled_from((1, 2, 4)),
    st.data(),
)
def test_tiles_are_cut_and_pasted_as_on_the_host(height, width, units, halo, multiple, data):
    cudart = HostCudart(Streams())
    memory, host = DeviceMemory(cudart, cudart.stream()), HostMemory()
    size = 4 * units
    halo = min(halo, (size - multiple) // 2)
    grid = TileGrid(height, width, size, halo, multiple)
    order = np.array(data.draw(st.permutations(range(len(grid)))))
    frame = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted = np.empty((len(grid), size, size, 3), np.uint8)
    host.cut(frame, grid, order, wanted)
    tiles = memory.empty(wanted.shape, np.uint8)
    memory.cut(memory.upload(frame), grid, order, tiles)
    np.testing.assert_array_equal(memory.download(tiles), wanted)
    picture = memory.empty(frame.shape, np.uint8)
    planes = memory.empty((3, height, width), np.float32)
    floats = np.ascontiguousarray(wanted.transpose(0, 3, 1, 2)).astype(np.float32)
    above = memory.upload(floats)
    memory.paste([tiles[i] for i in range(len(grid))], grid, order, picture)
    memory.paste([above[i] for i in range(len(grid))], grid, order, planes)
    np.testing.assert_array_equal(memory.download(picture), frame)
    np.testing.assert_array_equal(memory.download(planes), frame.transpose(2, 0, 1).astype(np.float32))


class Refusing:
    """A kernel that CUDA does not take, as one compiled for another GPU."""

    def copy(self, rectangles, source_pitch, target_pitch, stream):
        return False


def test_tiles_are_copied_one_by_one_where_the_kernel_is_refused(memory):
    grid = TileGrid(20, 30, 8, 1)
    order, frame = (
        np.arange(len(grid)),
        np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8),
    )
    wanted = np.empty((len(grid), 8, 8, 3), np.uint8)
    grid.cut(frame, order, wanted)
    memory.kernel = Refusing()
    tiles = memory.empty(wanted.shape, np.uint8)
    memory.cut(memory.upload(frame), grid, order, tiles)
    np.testing.assert_array_equal(memory.download(tiles), wanted)
    assert memory.kernel is None, "it is not asked again"


def test_memory_goes_back_when_nothing_looks_at_it(memory):
    array = memory.empty((10, 10), np.float32)
    part = array[2:3]
    del array
    assert len(memory.cudart.blocks) == 1
    del part
    assert not memory.cudart.blocks


def test_uploads_of_a_frame_do_not_overwrite_each_other_and_those_of_the_next_do(memory):
    first, second = memory.upload(np.zeros(4, np.uint8)), memory.upload(np.ones(4, np.uint8))
    assert memory.download(first).tolist() == [0] * 4 and memory.download(second).tolist() == [1] * 4
    blocks = len(memory.cudart.blocks)
    for _ in range(5):
        memory.begin_frame()
        memory.upload(np.zeros(4, np.uint8))
    assert len(memory.cudart.blocks) == blocks
