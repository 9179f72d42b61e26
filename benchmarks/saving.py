"""How much of a FLOP saving becomes a time saving: routed bundles against the full static model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import Timed, interleaved
from static_models import FullTiles
from subject import Pictures, exported

from edgeflow.flow import RoutedModule, cost
from edgeflow.ir.tiles import TileGrid
from edgeflow.models.cain_sd import CAINSD, WholeFrame
from edgeflow.runtime import Result, Session
from edgeflow.runtime.policy import Policy
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
    model: CAINSD,
    preset: str,
    size: tuple[int, int],
    folder: Path,
    target: Target,
    pictures: Sequence[Any] = (),
) -> dict[str, FullModel]:
    """The full static model of the frame as a whole, and of the same tiles as the routed model.

    Pictures are needed to calibrate int8 with.
    """
    at = "" if target.precision == "fp32" else f"-{target.precision}"
    seen = pictures if target.precision == "int8" else ()
    height, width = size
    forms: dict[str, RoutedModule] = {"whole": WholeFrame(model).eval(), "tiles": FullTiles(model).eval()}
    counts = {"whole": 1, "tiles": len(TileGrid(height, width, model.preset.tile, model.preset.halo))}
    return {
        form: FullModel(
            exported(
                folder / f"{preset}-{form}-{width}x{height}-{target.name}{at}.edgeflow",
                module,
                target,
                sizes=[size],
                frames=seen,
            ),
            counts[form] * sum(call.flops for call in cost(module, {"height": height, "width": width}).calls),
        )
        for form, module in forms.items()
    }


def compare(
    full: Mapping[str, FullModel],
    routed: Mapping[str, Path],
    library: str,
    pictures: Pictures,
    warm: int,
    threads: int,
    policy: Policy | None,
) -> list[dict[str, Any]]:
    """Run everything in one process, in turn, frame by frame; the fields of one record per routed bundle.

    The full model counts in its faster form. Times are of whole calls.
    """
    sessions = {
        **{name: Session(form.bundle, library=library, threads=threads) for name, form in full.items()},
        **{
            name: Session(path, library=library, threads=threads, policy=policy)
            for name, path in routed.items()
        },
    }
    timed = interleaved(
        {name: session.run for name, session in sessions.items()}, list(pairwise(pictures)), warm
    )
    form = min(full, key=lambda name: timed[name].median)
    return [
        {
            "plan": plan,
            "frames": len(timed[plan].ms),
            "full_form": form,
            "full_ms": timed[form].median,
            **{f"full_{name}_ms": timed[name].median for name in full},
            **_saved(timed[form], full[form].flops, timed[plan]),
            **_work(timed[plan]),
        }
        for plan in routed
    ]


def _saved(full: Timed[Result], flops: int, routed: Timed[Result]) -> dict[str, Any]:
    """Savings from medians, and the realisation's spread over frames."""
    spent = np.array([result.trace.flops for result in routed.made])
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


def _work(routed: Timed[Result]) -> dict[str, Any]:
    """What the routed calls consist of: dispatch, time by stage, regions by route."""
    traces = [result.trace for result in routed.made]
    stages: dict[str, float] = {}
    routes: dict[str, int] = {}
    for trace in traces:
        for engine in trace.engines:
            stages[engine.stage] = stages.get(engine.stage, 0.0) + engine.ms / len(traces)
        for region in trace.regions:
            route = " ".join(f"{k}={v}" for k, v in region.route.items())
            routes[route] = routes.get(route, 0) + 1
    whole, engines = np.array(routed.ms), np.array([trace.engines_ms for trace in traces])
    return {
        "dispatch_overhead": float(np.median(whole / engines)),
        "dispatch_ms": float(np.median(whole - engines)),
        "engine_runs": float(np.mean([sum(len(e.batches) for e in trace.engines) for trace in traces])),
        "stages_ms": stages,
        "routes": routes,
    }
