"""How long an engine takes on this machine's device, and what such a measurement holds for."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.costs import Device
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import Backend, Engine
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.machine import cpu_name

RUNS, SECONDS = 12, 0.3
"""A batch size is timed over 12 runs or 0.3 seconds, whichever is less, after one that is not."""


def device_of(bundle: Bundle, backend: Backend) -> Device:
    """What a measurement of a bundle's engines holds for, here."""
    precision = bundle.manifest.target["precision"]
    return Device(
        backend.accelerator or cpu_name(), backend.threads, backend.name, backend.version, precision
    )


def measure(
    engine: Engine, memory: Memory, inputs: Sequence[Port], outputs: Sequence[Port], batches: Sequence[int]
) -> dict[int, float]:
    """Least milliseconds of a run, per batch size: other programs only add to it. See `timed`."""
    return {batch: min(ms) for batch, ms in timed(engine, memory, inputs, outputs, batches).items()}


def timed(
    engine: Engine, memory: Memory, inputs: Sequence[Port], outputs: Sequence[Port], batches: Sequence[int]
) -> dict[int, list[float]]:
    """Milliseconds of an engine's runs, per batch size, as frames run them.

    The sizes take turns, because an engine library may prepare anew whenever a shape changes (OpenVINO's
    CPU plugin does). On the host each run has other rows than the last, because a frame's are seldom in cache; on a
    device each size has the same ones, after as many unmeasured runs as it takes to launch it the quickest way.
    Inputs are zeros.

    Args:
        engine: loaded.
        memory: that it reads and writes.
        inputs: its inputs, all dimensions known.
        outputs: its outputs, all dimensions known.
        batches: sizes to time.
    """
    memory.begin_frame()
    rows = 2 * max(batches)
    given, made = (
        [memory.upload(np.zeros((rows, *map(int, port.shape)), held(port.dtype))) for port in ports]
        for ports in (inputs, outputs)
    )

    def run(batch: int, turn: int) -> float:
        first = 0 if memory.settled else turn * batch % (rows - batch + 1)
        begin = perf_counter()
        engine.run(*([array[first : first + batch] for array in arrays] for arrays in (given, made)))
        memory.wait()
        return (perf_counter() - begin) * 1e3

    for batch in batches:
        for _ in range(max(memory.settled, 1)):
            run(batch, 0)
    times: dict[int, list[float]] = {batch: [] for batch in batches}
    start = perf_counter()
    for turn in range(1, RUNS + 1):
        for batch in batches:
            times[batch].append(run(batch, turn))
        if perf_counter() - start > SECONDS * len(batches):
            break
    return times
