"""One case of scaling.py, in this process: prints its records' fields as JSON.

    python benchmarks/scaling_case.py '{"kind": "size", ...}'

A process of its own because ONNX Runtime's pool has one number of threads per process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from interleaved import interleaved
from mixes import MIXES, every_route
from saving import compare, full_models
from subject import TARGETS, exported, pictures_of, subject

from edgeflow.ir.film import calls_of
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.session import select_plan
from edgeflow.targets import load

WARM = 1


def main(text: str) -> None:
    task = json.loads(text)
    pictures = pictures_of(Path(task["clip"]), task["frames"] + WARM + 1, tuple(task["size"]))
    measure = by_size if task["kind"] == "size" else by_routes
    print(json.dumps(measure(task, pictures)))


def by_size(task: dict[str, Any], pictures: Any) -> list[dict[str, Any]]:
    """Realisation at one frame size and number of threads, for every plan."""
    model, trained = subject("cain-sd", task["preset"])
    mix = "router" if trained else "paper"
    folder, plans = Path(task["folder"]), task["plans"]
    target = load(TARGETS[task["library"]])
    full = full_models("cain-sd", model, task["preset"], tuple(task["size"]), folder, target)
    routed = {
        plan: exported(
            folder / f"{task['preset']}-{plan}-{target.name}.edgeflow", model, target, plan, frames=pictures
        )
        for plan in plans
    }
    threads, library = task["threads"], task["library"]
    measured = compare(full, routed, library, pictures, WARM, threads, MIXES[mix])
    tiles = sum(measured[0]["routes"].values()) // task["frames"]
    return [{**fields, "mix": mix, "tiles": tiles} for fields in measured]


def by_routes(task: dict[str, Any], pictures: Any) -> list[dict[str, Any]]:
    """Load time and dispatch of a bundle whose every route is taken."""
    size = tuple(task["size"])
    bundle = open_bundle(task["bundle"])
    policy = every_route(select_plan(bundle.manifest.plans, *size).variables)
    session = Session(bundle, library=task["library"], threads=task["threads"], policy=policy)
    start = perf_counter()
    session.prepare(*size)
    load = perf_counter() - start
    calls = list(calls_of(bundle.manifest.task, pictures))
    timed = interleaved({"routed": session.run}, calls, WARM, lambda result: result.trace)["routed"]
    traces = timed.kept
    engines = np.array([trace.engines_ms for trace in traces])
    return [
        {
            "tiles": len(traces[0].regions),
            "routes_taken": len({tuple(region.route.items()) for region in traces[0].regions}),
            "load_seconds": load,
            "routed_ms": timed.median,
            "engine_runs": float(np.mean([sum(len(e.batches) for e in trace.engines) for trace in traces])),
            "dispatch_ms": float(np.median(np.array(timed.ms) - engines)),
            "dispatch_overhead": float(np.median(np.array(timed.ms) / engines)),
        }
    ]


if __name__ == "__main__":
    main(sys.argv[1])
