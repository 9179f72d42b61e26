"""What this machine is, and how long an engine takes on it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.costs import Device
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import Backend, Engine
from edgeflow.runtime.memory import Memory

RUNS, SECONDS = 12, 0.3
"""A batch size is timed over 12 runs or 0.3 seconds, whichever is less, after one that is not."""


def cpu_name() -> str:
    """The processor, in its maker's words."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def device_of(bundle: Bundle, backend: Backend) -> Device:
    """What a measurement of a bundle's engines holds for, here."""
    precision = bundle.manifest.target["precision"]
    return Device(cpu_name(), backend.threads, backend.name, backend.version, precision)


def measure(
    engine: Engine, memory: Memory, inputs: Sequence[Port], outputs: Sequence[Port], batches: Sequence[int]
) -> dict[int, float]:
    """Least milliseconds of a run, per batch size, on inputs of zeros: other programs only add to it.

    Args:
        engine: loaded.
        memory: that it reads and writes.
        inputs: its inputs, all dimensions known.
        outputs: its outputs, all dimensions known.
        batches: sizes to time.
    """
    return {batch: _least(engine, memory, inputs, outputs, batch) for batch in batches}


def _least(
    engine: Engine, memory: Memory, inputs: Sequence[Port], outputs: Sequence[Port], batch: int
) -> float:
    memory.begin_frame()
    given, made = (
        [memory.upload(np.zeros((batch, *map(int, port.shape)), held(port.dtype))) for port in ports]
        for ports in (inputs, outputs)
    )
    engine.run(given, made)
    memory.wait()
    times: list[float] = []
    start = perf_counter()
    while len(times) < RUNS and (not times or perf_counter() - start < SECONDS):
        begin = perf_counter()
        engine.run(given, made)
        memory.wait()
        times.append((perf_counter() - begin) * 1e3)
    return min(times)
