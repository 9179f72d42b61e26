"""A bundle's calls beside the full static model's: what routing is worth here, and what would help where it is worth nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.beside_static import Beside
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.route_shares import shares
from edgeflow.ir.plan.routes import full_in_words, full_route, static_plan
from edgeflow.ir.program import Route, Tile
from edgeflow.ir.rules import Spread
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.device import device_of
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.runtime.stream.policy import Fixed, Own
from edgeflow.runtime.stream.rows import Array

TIMED = 9
"""Calls that the full static model runs at most, the first of which does not count."""
HOST = 0.1
"""Share of a call outside its engines above which tiles are said to be small."""


def beside_static(bundle: Bundle, calls: Sequence[Sequence[Array]], clip: str) -> Beside:
    """Run a bundle on all calls of a clip, and on the first ones its full static model, in turn.

    Args:
        bundle: to run.
        calls: the inputs of each, of one frame size.
        clip: name of the video.

    Raises:
        BackendError: the engine library is missing, or refuses a graph.
        InputError: the bundle is for frames of another size.
    """
    library = bundle.manifest.target["library"]
    backend = open_backend(library, None)
    size = calls[0][0].shape[-3], calls[0][0].shape[-2]
    plan = select_plan(bundle.manifest.plans, *size)
    route, loaded = full_route(plan, size), load_graphs(bundle, plan, backend, size)
    routed = Executor(plan, loaded, backend.memory, Own(), size)
    dearest = static_plan(plan, route)
    left = {variable.name for variable in dearest.variables}
    policy = Fixed(**{name: value for name, value in route.items() if name in left})
    full = Executor(dearest, loaded, backend.memory, policy, size)
    traces, full_ms = [], []
    for number, call in enumerate(calls):
        traces.append(routed.run(call).trace)
        if route and number < TIMED:
            full_ms.append(full.run(call).trace.total_ms)
    counted = traces[1 : max(len(full_ms), 2)]
    routed_ms = float(np.median([trace.total_ms for trace in counted or traces]))
    static_ms = float(np.median(full_ms[1:])) if full_ms[1:] else None
    host = 1 - sum(trace.engines_ms for trace in traces) / sum(trace.total_ms for trace in traces)
    slower = static_ms is not None and routed_ms > static_ms
    return Beside(
        device=device_of(bundle, backend),
        clip=clip,
        size=(size[1], size[0]),
        calls=len(counted or traces),
        routes=shares([region.route for trace in traces for region in trace.regions]),
        full=full_in_words(plan, route),
        routed_ms=routed_ms,
        full_ms=static_ms,
        advice=tuple(advice(plan, library, host)) if slower else (),
    )


def advice(plan: Plan, library: str, host: float) -> list[str]:
    """What would help a bundle that is slower than its full static model.

    Args:
        plan: of the bundle.
        library: that it runs on.
        host: share of a call outside its engines.
    """
    found = [
        "`edgeflow tune` says which quality is worth its time; on frames that all take the dearest route nothing is saved"
    ]
    tiled = any(isinstance(step, Tile) for step in plan.steps)
    rules = [decision.rule for step in plan.steps if isinstance(step, Route) for decision in step.decisions]
    if tiled and host > HOST:
        found.append(f"larger tiles: {host:.0%} of a call is cutting, gathering and stitching them")
    if tiled and not any(isinstance(rule, Spread) for rule in rules):
        found.append(
            "a route of the whole frame for frames that move everywhere (`Spread`, as `edgeflow wrap` has it): "
            "this model always cuts its frames into tiles, whose halos are computed twice"
        )
    other = {"onnxruntime": "openvino-cpu", "openvino": "cpu"}.get(library)
    if other:
        found.append(f"the other library: export with --target {other}")
    return found
