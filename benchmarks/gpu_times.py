"""What edgeflow's calls of the CUDA runtime cost on a GPU: graphs, allocation, copies of tiles, a pause."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeflow.targets.cudart import ANYWHERE, Cudart

LENGTHS = (5, 20, 50, 100, 200, 400)
"""Kernels in an engine."""
TURNS = 200
TILE, TILES = 64, 84
PICTURE = (360, 640, 3)
DEVICE_TO_DEVICE = 3
"""A kind of copy that edgeflow does not use, to compare with."""
PAUSE_S = 5


def graphs(cudart: Cudart, work: ctypes.CDLL) -> list[dict[str, float]]:
    """Per length: an enqueued run, a launched graph, and what making one costs, in microseconds, medians.

    `pays_after` is how many launches earn the recording and the instantiation back, by the host's time, which is
    what small kernels are limited by.
    """
    stream, data = cudart.stream(), cudart.malloc(4 << 16)
    rows = []
    for length in LENGTHS:

        def enqueue(length: int = length) -> None:
            work.chain(ctypes.c_void_p(data), 1 << 16, length, ctypes.c_void_p(stream))

        made: list[int] = []
        recorded, instantiated, destroyed = [], [], []
        for _ in range(TURNS // 4):
            begin = time.perf_counter()
            cudart.begin_capture(stream)
            enqueue()
            middle = time.perf_counter()
            made.append(cudart.end_capture(stream))
            recorded.append(middle - begin)
            instantiated.append(time.perf_counter() - middle)
        for graph in made[1:]:
            begin = time.perf_counter()
            cudart.free_graph(graph)
            destroyed.append(time.perf_counter() - begin)
        first = _once(cudart, stream, lambda made=made: cudart.launch(made[0], stream))
        plain = _medians(cudart, stream, enqueue)
        launch = _medians(cudart, stream, lambda made=made: cudart.launch(made[0], stream))
        cudart.free_graph(made[0])
        once = _us(recorded) + _us(instantiated) + _us(destroyed)
        saved = plain["whole_us"] - launch["whole_us"]
        rows.append(
            {
                "kernels": length,
                **{f"enqueue_{name}": value for name, value in plain.items()},
                **{f"launch_{name}": value for name, value in launch.items()},
                "record_us": _us(recorded),
                "instantiate_us": _us(instantiated),
                "destroy_us": _us(destroyed),
                "first_launch_us": round(first * 1e6, 1),
                "pays_after": round((once + _us([first]) - launch["whole_us"]) / saved, 1)
                if saved > 0
                else -1.0,
            }
        )
    cudart.free(data)
    return rows


def graph_bytes(cudart: Cudart, work: ctypes.CDLL) -> dict[str, int]:
    """Device memory that a graph of each length holds, from 64 of them, launched once."""
    stream, data = cudart.stream(), cudart.malloc(4 << 16)
    found = {}
    for length in LENGTHS:
        before = cudart.memory()[0]
        made = []
        for _ in range(64):
            cudart.begin_capture(stream)
            work.chain(ctypes.c_void_p(data), 1 << 16, length, ctypes.c_void_p(stream))
            made.append(cudart.end_capture(stream))
            cudart.launch(made[-1], stream)
        cudart.synchronise(stream)
        found[str(length)] = (before - cudart.memory()[0]) // 64
        for graph in made:
            cudart.free_graph(graph)
    return found


def allocation(cudart: Cudart, work: ctypes.CDLL) -> list[dict[str, float]]:
    """A picture taken from and given back to the device, idle and with work in flight, in microseconds."""
    stream, data = cudart.stream(), cudart.malloc(4 << 16)
    rows = []
    for name, size in (
        ("640x360 uint8", 691200),
        ("1280x720 uint8", 2764800),
        ("1280x720 float32", 11059200),
    ):
        idle, busy = [], []
        for turn in range(TURNS):
            if turn % 2:
                work.chain(ctypes.c_void_p(data), 1 << 16, 20, ctypes.c_void_p(stream))
            begin = time.perf_counter()
            cudart.free(cudart.malloc(size))
            (busy if turn % 2 else idle).append(time.perf_counter() - begin)
            cudart.synchronise(stream)
        rows.append({"picture": name, "idle_us": _us(idle), "busy_us": _us(busy)})
    return rows


def tile_copies(cudart: Cudart, work: ctypes.CDLL) -> dict[str, dict[str, float]]:
    """All tiles of a 640x360 frame pasted: by a 2D copy each, by a graph of them, by one kernel; one whole copy."""
    stream = cudart.stream()
    height, width, _ = PICTURE
    tiles, picture = cudart.malloc(TILES * TILE * TILE * 3), cudart.malloc(height * width * 3)
    random = np.random.default_rng(0)
    corners = [
        (int(random.integers(0, height - TILE)), int(random.integers(0, width - TILE))) for _ in range(TILES)
    ]
    places = np.array(corners, np.int32)
    placed = cudart.malloc(places.nbytes)
    cudart.copy(placed, places.ctypes.data, places.nbytes, ANYWHERE, stream)
    cudart.synchronise(stream)

    def by_copies(kind: int) -> None:
        for number, (top, left) in enumerate(corners):
            target, source = picture + (top * width + left) * 3, tiles + number * TILE * TILE * 3
            cudart.copy_2d(target, width * 3, source, TILE * 3, TILE * 3, TILE, kind, stream)

    def by_kernel() -> None:
        pointers = [ctypes.c_void_p(address) for address in (tiles, placed, picture)]
        work.paste_all(pointers[0], TILES, TILE, pointers[1], pointers[2], width, ctypes.c_void_p(stream))

    cudart.begin_capture(stream)
    by_copies(DEVICE_TO_DEVICE)
    graph = cudart.end_capture(stream)
    ways: dict[str, Callable[[], None]] = {
        "2D copies, device to device": lambda: by_copies(DEVICE_TO_DEVICE),
        "2D copies, anywhere": lambda: by_copies(ANYWHERE),
        "a graph of 2D copies": lambda: cudart.launch(graph, stream),
        "one kernel": by_kernel,
        "one copy of as many bytes": lambda: cudart.copy(
            picture, tiles, height * width * 3, ANYWHERE, stream
        ),
    }
    return {name: _medians(cudart, stream, way) for name, way in ways.items()}


def events(cudart: Cudart, work: ctypes.CDLL) -> dict[str, float]:
    """A run of 100 kernels without events, with one after every tenth kernel, and recording one alone, in microseconds."""
    stream, data = cudart.stream(), cudart.malloc(4 << 16)
    made = [cudart.event() for _ in range(10)]

    def run(marks: list[int]) -> None:
        for number in range(10):
            work.chain(ctypes.c_void_p(data), 1 << 16, 10, ctypes.c_void_p(stream))
            if marks:
                cudart.record(marks[number], stream)

    plain, marked = (_medians(cudart, stream, lambda marks=marks: run(marks)) for marks in ([], made))
    alone = _medians(cudart, stream, lambda: [cudart.record(event, stream) for event in made])
    return {
        "plain_us": plain["whole_us"],
        "with_ten_events_us": marked["whole_us"],
        "record_us": round(alone["host_us"] / 10, 2),
    }


def after_a_pause(cudart: Cudart, work: ctypes.CDLL) -> dict[str, float]:
    """A run of 100 kernels in a row of them, and the first one after some seconds without any, in microseconds."""
    stream, data = cudart.stream(), cudart.malloc(4 << 16)

    def run() -> None:
        work.chain(ctypes.c_void_p(data), 1 << 16, 100, ctypes.c_void_p(stream))

    steady = _medians(cudart, stream, run)["whole_us"]
    time.sleep(PAUSE_S)
    first = _once(cudart, stream, run)
    return {"steady_us": steady, "first_us": round(first * 1e6, 1), "pause_s": PAUSE_S}


def _medians(cudart: Cudart, stream: int, run: Callable[[], None]) -> dict[str, float]:
    """Microseconds until a run is enqueued and until it is done; the device idles before each."""
    enqueued, whole = [], []
    for _ in range(TURNS):
        begin = time.perf_counter()
        run()
        enqueued.append(time.perf_counter() - begin)
        cudart.synchronise(stream)
        whole.append(time.perf_counter() - begin)
    return {"host_us": _us(enqueued[10:]), "whole_us": _us(whole[10:])}


def _once(cudart: Cudart, stream: int, run: Callable[[], Any]) -> float:
    cudart.synchronise(stream)
    begin = time.perf_counter()
    run()
    cudart.synchronise(stream)
    return time.perf_counter() - begin


def _us(seconds: list[float]) -> float:
    return round(float(np.median(seconds)) * 1e6, 1)
