"""How much of a FLOP saving becomes a time saving: routed bundles against the full static model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import Timed, interleaved
from static_models import full_forms
from subject import Pictures, exported

from edgeflow.flow import RoutedModule, cost
from edgeflow.ir.film import calls_of
from edgeflow.runtime import Result, Session, Trace
from edgeflow.runtime.stream.policy import Policy
from edgeflow.targets import Target


@dataclass(frozen=True)
class FullModel:
    """One form of the full static model for one frame size.

    Attributes:
        bundle: where it was compiled to.
        flops: of one frame.
    """

    bundle: Path
    flops: int


def full_models(
    family: str,
    model: RoutedModule,
    preset: str,
    size: tuple[int, int],
    folder: Path,
    target: Target,
    pictures: Sequence[Any] = (),
) -> dict[str, FullModel]:
    """The full static model of the frame as a whole, and for CAIN-SD of the same tiles as the routed model.

    Pictures are needed to calibrate int8 with.
    """
    at = "" if target.precision == "fp32" else f"-{target.precision}"
    seen = pictures if target.precision == "int8" else ()
    height, width = size
    return {
        form: FullModel(
            exported(
                folder / f"{preset}-{form}-{width}x{height}-{target.name}{at}.edgeflow",
                module,
                target,
                sizes=[size],
                frames=seen,
            ),
            times * sum(call.flops for call in cost(module, {"height": height, "width": width}).calls),
        )
        for form, (module, times) in full_forms(family, model, size).items()
    }


def compare(
    full: Mapping[str, FullModel],
    routed: Mapping[str, Path],
    library: str,
    pictures: Pictures,
    warm: int,
    threads: int,
    policy: Policy | None,
    in_flight: int = 1,
) -> list[dict[str, Any]]:
    """Run everything in one process, in turn, frame by frame; the fields of one record per routed bundle.

    The full model counts in its faster form. Times are of whole calls; of frames in flight together, they
    are a block's over its frames.
    """
    common: dict[str, Any] = {"library": library, "threads": threads, "in_flight": in_flight}
    sessions = {
        **{name: Session(form.bundle, **common) for name, form in full.items()},
        **{name: Session(path, policy=policy, **common) for name, path in routed.items()},
    }
    task = next(iter(sessions.values())).bundle.manifest.task
    calls = list(calls_of(task, pictures))
    if in_flight == 1:
        timed = interleaved(
            {name: session.run for name, session in sessions.items()},
            calls,
            warm,
            lambda result: result.trace,
        )
    else:
        timed = _in_flight(sessions, calls, warm, in_flight)
    form = min(full, key=lambda name: timed[name].median)
    return [
        {
            "plan": plan,
            "frames": len(timed[plan].ms),
            "full_form": form,
            "full_ms": timed[form].median,
            **{f"full_{name}_ms": timed[name].median for name in full},
            **_saved(timed[form], full[form].flops, timed[plan]),
            **_work(timed[plan], in_flight),
        }
        for plan in routed
    ]


BLOCK = 3
"""Frames of a block, for every frame in flight."""


def _in_flight(
    sessions: Mapping[str, Session], pairs: Sequence[Any], warm: int, in_flight: int
) -> dict[str, Timed[Trace]]:
    """Blocks of frames in turn, each frame with its share of its block's time."""
    size = BLOCK * in_flight
    blocks = [pairs[:warm], *(pairs[i : i + size] for i in range(warm, len(pairs) - size + 1, size))]
    with ThreadPoolExecutor(in_flight) as pool:

        def through(session: Session) -> Callable[..., list[Result]]:
            return lambda *block: list(pool.map(lambda pair: session.run(*pair), block))

        timed = interleaved(
            {name: through(session) for name, session in sessions.items()},
            blocks,
            1,
            lambda results: [result.trace for result in results],
        )
    return {
        name: Timed(
            [ms / len(block) for ms, block in zip(own.ms, own.kept, strict=True) for _ in block],
            [trace for block in own.kept for trace in block],
        )
        for name, own in timed.items()
    }


def _saved(full: Timed[Trace], flops: int, routed: Timed[Trace]) -> dict[str, Any]:
    """Savings from medians, and the realisation's spread over frames."""
    spent = np.array([trace.flops for trace in routed.kept])
    saved = flops / float(spent.mean())
    speedup = full.median / routed.median
    by_frame = np.array(full.ms) / np.array(routed.ms) / (flops / spent)
    return {
        "routed_ms": routed.median,
        "flops_full": flops,
        "flops_routed": float(spent.mean()),
        "flops_saved": saved,
        "speedup": speedup,
        "realisation": speedup / saved,
        "realisation_p10": float(np.percentile(by_frame, 10)),
        "realisation_p90": float(np.percentile(by_frame, 90)),
    }


def _work(routed: Timed[Trace], in_flight: int) -> dict[str, Any]:
    """What the routed calls consist of: dispatch, time by stage, regions by route."""
    traces = routed.kept
    stages: dict[str, float] = {}
    routes: dict[str, int] = {}
    for trace in traces:
        for engine in trace.engines:
            stages[engine.stage] = stages.get(engine.stage, 0.0) + engine.ms / len(traces)
        for region in trace.regions:
            route = " ".join(f"{k}={v}" for k, v in region.route.items())
            routes[route] = routes.get(route, 0) + 1
    whole, engines = np.array(routed.ms), np.array([trace.engines_ms for trace in traces])
    alone = in_flight == 1  # else the engines of several frames take their times together
    return {
        "dispatch_overhead": float(np.median(whole / engines)) if alone else None,
        "dispatch_ms": float(np.median(whole - engines)) if alone else None,
        "engine_runs": float(np.mean([sum(len(e.batches) for e in trace.engines) for trace in traces])),
        "stages_ms": stages,
        "routes": routes,
    }
