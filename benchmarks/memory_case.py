"""One case of memory.py: loads a bundle, runs it, and prints readings of this process's memory as JSON.

python benchmarks/memory_case.py BUNDLE LIBRARY FRAMES.npy THREADS
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
from mixes import every_route
from numpy.typing import NDArray

from edgeflow.ir.film import calls_of
from edgeflow.ir.route import Assignment, Axis, Variable, assignments
from edgeflow.runtime import Fixed, Own, Session, Trace
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.policy import Policy


class Steering(Policy):
    """A policy that can be exchanged while the engines stay loaded."""

    def __init__(self) -> None:
        self.policy: Policy = Own()

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Nothing to refuse: the routes come from the plan itself."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        return self.policy.choose(variable, own)


def main(bundle: str, library: str, frames: str, threads: str) -> None:
    pictures = np.load(frames)
    open_backend(library, int(threads))  # so that the library itself is not counted
    empty, empty_rss = resident(), status("VmRSS")
    start = perf_counter()
    steering = Steering()
    session = Session(bundle, library=library, threads=int(threads), policy=steering)
    session.prepare(*pictures.shape[1:3])
    readings = {"load_seconds": perf_counter() - start, "empty_mb": empty, "loaded_mb": resident() - empty}
    variables = select_plan(session.bundle.manifest.plans, *pictures.shape[1:3]).variables
    steering.policy = every_route(variables)
    call = next(calls_of(session.bundle.manifest.task, pictures))
    for _ in range(3):
        trace = session.run(*call).trace
    if missing := set(assignments(variables)) - taken(trace):
        raise SystemExit(f"{len(trace.regions)} tiles cannot take all routes: {len(missing)} are missing")
    readings["mixed_mb"] = resident() - empty
    for route in assignments(variables):
        steering.policy = Fixed(**dict(route))
        session.run(*call)
    readings |= {"largest_mb": resident() - empty, "peak_mb": status("VmHWM") - empty_rss}
    print(json.dumps(readings))


def taken(trace: Trace) -> set[Assignment]:
    """The routes that were taken."""
    return {tuple(sorted(region.route.items())) for region in trace.regions}


def resident() -> float:
    """Resident memory of this process in MB, garbage excluded.

    It is the proportional set size: a page of the weight file that many engines map counts once, and not
    once an engine as in VmRSS.
    """
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def status(name: str) -> float:
    """A size in /proc/self/status, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
