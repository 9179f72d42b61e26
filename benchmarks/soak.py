"""A long life: frames by the thousand, sizes never seen before, sessions opened and closed; memory, threads, files and maps stay flat.

    python benchmarks/soak.py model.edgeflow [MORE.edgeflow ...]          10,000 frames, 500 sizes, 6,000 sessions a library
    python benchmarks/soak.py model.edgeflow --share 0.01                 a hundredth of that

Bundles for frames of any size see sizes that change, in one session. Every so often the same frames go through a fresh session: routes and
pictures must be equal, whatever the old one saw before. Flat means that the second half grows by less than the limits below.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer

from edgeflow.ir.interface import Tensor, held_shape
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.session import declared_size

GROWTH = {"megabytes": 24.0, "threads": 2, "files": 4, "maps": 40}
"""What the second half of a soak may add."""
SIZES = ((72, 104), (40, 56), (96, 128), (104, 104), (33, 47), (64, 200))
"""(height, width) of the frames of one session: more than it keeps engines for."""


def readings() -> dict[str, float]:
    """This process's resident memory, threads, open files and memory maps."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "megabytes": int(status["VmRSS"].split()[0]) / 1024,
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "maps": len(Path("/proc/self/maps").read_text().splitlines()),
    }


def frames(plan: Any, size: tuple[int, int], seed: int) -> list[Any]:
    """Inputs of a call at a size (height, width)."""
    random = np.random.default_rng(seed)
    sizes = {"height": size[0], "width": size[1], "frames": 6}
    made = []
    for spec in plan.inputs:
        shape = [
            sizes.get(s, 2) if isinstance(s, str) else s
            for s in (held_shape(spec.shape) if spec.image else spec.shape)
        ]
        if isinstance(spec, Tensor):
            made.append(random.normal(size=shape).astype(np.float32))
        else:
            level = random.integers(0, 256, (1,) * len(shape))
            made.append((level + random.integers(0, 1 + seed % 120, shape)).astype(np.uint8))
    return made


def judge(what: str, halves: list[dict[str, float]], seconds: float) -> bool:
    """Print how much the second half added; whether that is within the limits."""
    middle, end = halves
    added = {name: end[name] - middle[name] for name in GROWTH}
    good = all(added[name] <= most for name, most in GROWTH.items())
    shown = ", ".join(f"{name} {end[name]:.0f} ({added[name]:+.1f})" for name in GROWTH)
    print(f"  {what}: {shown}; {seconds:.0f} s {'' if good else 'GROWS'}", flush=True)
    return good


def run_frames(path: Path, library: str, count: int) -> bool:
    """So many frames of changing sizes through one session; now and then a fresh session must make the same of them."""
    bundle, halves, start = open_bundle(path), [], perf_counter()
    kinds = bundle.manifest.plans
    plan, sizes = next(iter(kinds.values())), SIZES if free(kinds) else SIZES[:1]
    session, drifted, routes = Session(bundle, library=library, threads=1), 0, set()
    for number in range(count):
        size = sizes[number // 25 % len(sizes)]
        if number % max(count // 8, 1) == 0 and number:
            drifted += drift(session, [frames(plan, size, seed) for seed in range(number, number + 3)])
        trace = session.run(*frames(plan, size, number)).trace
        routes |= {tuple(sorted(region.route.items())) for region in trace.regions}
        if number in (count // 2, count - 1):
            halves.append(readings())
    print(f"  {len(sizes)} sizes, {len(routes)} routes; drift against fresh sessions: {drifted} calls")
    return judge(f"{count} frames", halves, perf_counter() - start) and not drifted


def drift(session: Session, calls: list[list[Any]]) -> int:
    """How many of some calls a session makes otherwise than a fresh one."""
    session.reset()
    drifted = 0
    with Session(session.bundle, library=session.backend.name, threads=1) as fresh:
        for call in calls:
            ours, others = session.run(*call), fresh.run(*call)
            same = all(np.array_equal(a, b) for a, b in zip(ours.outputs, others.outputs, strict=True))
            drifted += not same or ours.trace.choices != others.trace.choices
    return drifted


def free(kinds: Mapping[str, Any]) -> bool:
    """Whether a bundle's plans take frames of any size."""
    return bool({"any", "landscape"} & set(kinds)) and not any(
        declared_size(p.inputs) for p in kinds.values()
    )


def open_sessions(path: Path, library: str, count: int, sizes: int) -> bool:
    """Open a session, run a frame, close it; where frames may be of any size, of one never seen before for the first `sizes`."""
    bundle, halves, start = open_bundle(path), [], perf_counter()
    plan, any_size = next(iter(bundle.manifest.plans.values())), free(bundle.manifest.plans)
    for number in range(count):
        step = 2 * (number % max(sizes, 1))
        size = (32 + step % 100, 132 + step // 4) if any_size else (72, 104)
        with Session(bundle, library=library, threads=1) as session:
            session.run(*frames(plan, size, number))
        if number in (count // 2, count - 1):
            halves.append(readings())
    return judge(
        f"{count} sessions, {min(sizes, count) if any_size else 1} sizes", halves, perf_counter() - start
    )


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles to run.")],
    share: Annotated[float, typer.Option(help="Of the whole soak.")] = 1.0,
    library: Annotated[
        list[str] | None, typer.Option(help="onnxruntime, openvino; both if not given.")
    ] = None,
) -> None:
    good = True
    for path in bundles:
        for name in library or ["onnxruntime", "openvino"]:
            print(f"{path.name} by {name}", flush=True)
            good &= run_frames(path, name, max(int(10_000 * share), 8))
            good &= open_sessions(path, name, max(int(6_000 * share), 4), max(int(500 * share), 2))
    raise typer.Exit(not good)


if __name__ == "__main__":
    typer.run(main)
