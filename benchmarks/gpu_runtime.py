"""edgeflow's wrapper of the CUDA runtime on a GPU: every call, the errors that it raises, and what it gives back."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from edgeflow.ir.errors import BackendError
from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime.backends.device_memory import DeviceMemory
from edgeflow.targets.cudart import ANYWHERE, Cudart

ROUNDS = 1000
"""Times that all is taken and given back to see whether any of it stays."""

Check = Callable[[], Any]
"""Asserts, and returns what is worth telling."""


def checks(cudart: Cudart, work: ctypes.CDLL) -> Iterator[tuple[str, Check]]:
    """Every check, by name; `work` is gpu_work.cu, compiled."""
    yield "device", partial(_device, cudart)
    yield "alignment of what is allocated", partial(_alignment, cudart)
    for name, memory in _memories(cudart):
        yield f"up and down, {name}", partial(_round_trip, memory)
        yield f"rows gathered, {name}", partial(_rows, memory)
        yield f"tiles cut and pasted, {name}", partial(_tiles, memory)
    yield "events", partial(_events, cudart, work)
    yield "graphs", partial(_graphs, cudart, work)
    yield "a capture that fails", partial(_failed_capture, cudart)
    yield "errors", partial(_errors, cudart)
    yield f"what stays after {ROUNDS} rounds", partial(_leak, cudart, work)


def _memories(cudart: Cudart) -> Iterator[tuple[str, DeviceMemory]]:
    """As on this card, and reading frames in place as on a board that shares the host's memory."""
    yield "copied", DeviceMemory(cudart, cudart.stream())
    mapped = DeviceMemory(cudart, cudart.stream())
    mapped._zero_copy = True
    yield "mapped", mapped


def _device(cudart: Cudart) -> dict[str, Any]:
    free, total = cudart.memory()
    assert 0 < free <= total and cudart.name and not cudart.integrated
    found = {"name": cudart.name, "compute_capability": cudart.compute_capability, "runtime": cudart.version}
    return {**found, "driver": cudart.driver, "free": free, "total": total}


def _alignment(cudart: Cudart) -> dict[str, int]:
    addresses = [cudart.malloc(size) for size in (0, 1, 3, 255, 257, 4097, 10**6 + 1)]
    pinned = [cudart.host_alloc(size) for size in (0, 1, 3, 255, 257, 4097)]
    mapped = [cudart.device_address(address) for address in pinned]
    least = {
        name: min(address & -address for address in group)
        for name, group in (("device", addresses), ("pinned", pinned), ("mapped", mapped))
    }
    for address in addresses:
        cudart.free(address)
    for address in pinned:
        cudart.free_host(address)
    assert min(least.values()) >= 256, least
    return least


def _round_trip(memory: DeviceMemory) -> None:
    random = np.random.default_rng(0)
    for shape, dtype in (((361, 643, 3), np.uint8), ((1, 7, 5, 3), np.float16), ((1,), np.float32)):
        memory.begin_frame()
        array = random.integers(0, 100, shape).astype(dtype)
        np.testing.assert_array_equal(memory.download(memory.upload(array)), array)


def _rows(memory: DeviceMemory) -> None:
    random = np.random.default_rng(1)
    memory.begin_frame()
    array = random.integers(0, 255, (40, 3, 5), np.uint8)
    order = random.permutation(40).astype(np.intp)
    target = memory.empty(array.shape, array.dtype)
    memory.copy_rows(memory.upload(array), order, target)
    np.testing.assert_array_equal(memory.download(target), array[order])


def _tiles(memory: DeviceMemory) -> None:
    random = np.random.default_rng(2)
    memory.begin_frame()
    frame = random.integers(0, 255, (361, 643, 3), np.uint8)
    grid = TileGrid(361, 643, 64, 8)
    order = random.permutation(len(grid)).astype(np.intp)
    tiles = memory.empty((len(grid), 64, 64, 3), np.uint8)
    memory.cut(memory.upload(frame), grid, order, tiles)
    wanted = np.empty((len(grid), 64, 64, 3), np.uint8)
    grid.cut(frame, order, wanted)
    np.testing.assert_array_equal(memory.download(tiles), wanted)
    picture = memory.empty(frame.shape, frame.dtype)
    memory.paste([tiles[i] for i in range(len(grid))], grid, order, picture)
    np.testing.assert_array_equal(memory.download(picture), frame)


def _events(cudart: Cudart, work: ctypes.CDLL) -> dict[str, float]:
    """Time between events grows with the work between them, and needs no waiting while it is enqueued."""
    stream, data = cudart.stream(), cudart.malloc(4 << 24)
    spans = {}
    for length in (10, 100, 1000):
        events = [cudart.event(), cudart.event()]
        for _ in range(2):
            cudart.record(events[0], stream)
            _chain(work, data, 1 << 24, length, stream)
            cudart.record(events[1], stream)
            cudart.synchronise(stream)
        spans[str(length)] = cudart.elapsed_ms(*events)
        for event in events:
            cudart.free_event(event)
    cudart.free(data)
    cudart.free_stream(stream)
    assert 5 < spans["100"] / spans["10"] < 20 and 5 < spans["1000"] / spans["100"] < 20, spans
    return spans


def _graphs(cudart: Cudart, work: ctypes.CDLL) -> None:
    """A graph does what was recorded, on what lies at its addresses when it is launched, and nothing before."""
    stream, count = cudart.stream(), 1000
    data = cudart.malloc(4 * count)
    memory = DeviceMemory(cudart, stream)
    _put(cudart, data, np.zeros(count, np.float32), stream)
    cudart.begin_capture(stream)
    _chain(work, data, count, 3, stream)
    graph = cudart.end_capture(stream)
    np.testing.assert_array_equal(_get(cudart, data, count, stream), 0)
    for start in (0.0, 8.0):
        _put(cudart, data, np.full(count, start, np.float32), stream)
        cudart.launch(graph, stream)
        np.testing.assert_array_equal(_get(cudart, data, count, stream), start / 8 + 1.75)
    cudart.free_graph(graph)
    cudart.free(data)
    del memory


def _failed_capture(cudart: Cudart) -> str:
    """What cannot be recorded ends the recording; the stream works afterwards."""
    stream = cudart.stream()
    cudart.begin_capture(stream)
    try:
        cudart.synchronise(stream)
        raise AssertionError("a wait was recorded")
    except BackendError as error:
        said = str(error)
    cudart.drop_capture(stream)
    cudart.synchronise(stream)
    cudart.free_stream(stream)
    return said


def _errors(cudart: Cudart) -> list[str]:
    """Each is one of edgeflow's, with CUDA's own words, and the next call works."""
    said = []
    for call in (
        lambda: cudart.malloc(1 << 50),
        lambda: cudart.free(12345),
        lambda: cudart.launch(0, cudart.stream()),
    ):
        try:
            call()
            raise AssertionError("no error was raised")
        except BackendError as error:
            said.append(str(error))
        cudart.free(cudart.malloc(100))
    return said


def _leak(cudart: Cudart, work: ctypes.CDLL) -> dict[str, int]:
    """Device memory before and after, of rounds that take one of everything; the first rounds are not counted."""
    free = []
    for turn in range(ROUNDS):
        memory = DeviceMemory(cudart, cudart.stream())
        array = memory.upload(np.zeros(1000, np.float32))
        events = [cudart.event(), cudart.event()]
        cudart.begin_capture(memory.stream)
        _chain(work, array.address, 1000, 5, memory.stream)
        graph = cudart.end_capture(memory.stream)
        cudart.launch(graph, memory.stream)
        memory.download(array)
        for event in events:
            cudart.free_event(event)
        cudart.free_graph(graph)
        del array
        del memory
        if turn in (ROUNDS // 10, ROUNDS - 1):
            gc.collect()
            free.append(cudart.memory()[0])
    lost = free[0] - free[1]
    assert lost <= 2 << 20, f"{lost} bytes stay"
    return {"bytes": lost}


def _chain(work: ctypes.CDLL, data: int, count: int, length: int, stream: int) -> None:
    code = work.chain(ctypes.c_void_p(data), count, length, ctypes.c_void_p(stream))
    assert code == 0, f"CUDA error {code}"


def _put(cudart: Cudart, target: int, array: Any, stream: int) -> None:
    cudart.copy(target, array.ctypes.data, array.nbytes, ANYWHERE, stream)
    cudart.synchronise(stream)


def _get(cudart: Cudart, source: int, count: int, stream: int) -> Any:
    array = np.empty(count, np.float32)
    cudart.copy(array.ctypes.data, source, array.nbytes, ANYWHERE, stream)
    cudart.synchronise(stream)
    return array
