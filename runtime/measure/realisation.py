"""Measures a routed bundle against its full static model, in turn, frame by frame of a clip."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.routes import full_in_words, full_route, static_plan, working_stages
from edgeflow.runtime.backends import Backend, OperatorTime, open_backend
from edgeflow.runtime.measure.waterfall import FrameCost, Spent, Waterfall, Work, waterfall
from edgeflow.runtime.session import check_inputs, select_plan
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.runtime.stream.policy import Fixed, Own, Policy
from edgeflow.runtime.stream.rows import Array
from edgeflow.runtime.stream.trace import Trace

WARMUP = 2
"""Calls that are run before measuring."""

Call = Sequence[Array]
"""A frame's inputs."""

_Backends = tuple[Backend, Backend]
"""One for plain engines, one for engines that time their operators."""

_FLOPS = re.compile(r"Conv(?!ert)|Deconvolution|MatMul|Gemm|FullyConnected|Attention| kernel$")
"""Operators that count FLOPs, by the libraries' names, and native kernels; `Convert` is a change of type."""


@dataclass(frozen=True)
class _Shares:
    """Parts of an engine's time; the rest of it is launching."""

    convolutions: float
    operators: float

    @staticmethod
    def of(operators: Sequence[OperatorTime], engine_ms: float) -> _Shares:
        """Split the time that an engine took without timing.

        Timed operators may add up to more than that, because timing costs time: they are then scaled
        down to it, and nothing is left for launching.
        """
        convolutions = sum(o.ms for o in operators if _FLOPS.search(o.kind))
        others = sum(o.ms for o in operators) - convolutions
        whole = max(engine_ms, convolutions + others)
        return _Shares(convolutions / whole, others / whole)


@dataclass
class _Runner:
    """A plan as it is measured: its engines, and the same engines timing their operators."""

    name: str
    plan: Plan
    plain: Executor
    timed: Executor
    traces: list[Trace] = field(default_factory=list)

    @staticmethod
    def load(
        name: str, bundle: Bundle, plan: Plan, policy: Policy, size: tuple[int, int], backends: _Backends
    ) -> _Runner:
        plain, timed = (
            Executor(plan, load_graphs(bundle, plan, backend, size), backend.memory, policy, size)
            for backend in backends
        )
        return _Runner(name, plan, plain, timed)

    def run(self, call: Call) -> None:
        self.traces.append(self.plain.run(call).trace)
        self.timed.run(call)

    def median_ms(self) -> float:
        return float(np.median([trace.total_ms for trace in self.traces[WARMUP:]]))

    def cost(self) -> FrameCost:
        """Means over the usual frames."""
        measured = usual(self.traces[WARMUP:])
        shares = self._shares(measured)
        router = {stage.name for stage in self.plan.stages} - working_stages(self.plan)
        return FrameCost(
            _mean([_work(trace, router) for trace in measured]),
            _mean([_spent(trace, router, shares) for trace in measured]),
        )

    def _shares(self, measured: Sequence[Trace]) -> dict[str, _Shares]:
        """Per graph, of its time in these frames.

        Operators were timed over the whole clip, so the engine's time is carried over to all its rows:
        a library's first runs prepare kernels, which no operator and no later frame pays for.
        """
        rows = {graph: rows for graph, (_, rows) in _totals(self.traces).items()}
        engines = {loaded.graph.graph: loaded.engine for loaded in self.timed.loaded.values()}
        return {
            graph: _Shares.of(engines[graph].operators(), ms / own * rows[graph])
            for graph, (ms, own) in _totals(measured).items()
        }


def _totals(traces: Sequence[Trace]) -> dict[str, tuple[float, int]]:
    """Milliseconds and rows of every graph."""
    totals: dict[str, tuple[float, int]] = {}
    for engine in (engine for trace in traces for engine in trace.engines):
        ms, rows = totals.get(engine.graph, (0.0, 0))
        totals[engine.graph] = ms + engine.ms, rows + sum(engine.batches)
    return totals


def usual(traces: Sequence[Trace]) -> list[Trace]:
    """The half of the frames that other programs on the machine neither slowed most nor least.

    A frame's engine time is compared with what its engines and rows usually take, the median over the
    clip: so frames of every route stay, and frames that were disturbed go.
    """
    rows: defaultdict[str, list[float]] = defaultdict(list)
    for trace in traces:
        for engine in trace.engines:
            rows[engine.graph].append(engine.ms / sum(engine.batches))
    median = {graph: float(np.median(ms)) for graph, ms in rows.items()}

    def slowness(trace: Trace) -> float:
        return trace.engines_ms / sum(median[e.graph] * sum(e.batches) for e in trace.engines)

    quarter = len(traces) // 4
    return sorted(traces, key=slowness)[quarter : len(traces) - quarter]


@dataclass(frozen=True)
class Compared:
    """A clip run through a routed bundle and its full static model.

    Attributes:
        routed: the routed model's calls, warm-up left out.
        full: the full static model's.
        full_name: that model in words.
        waterfall: from one to the other; None if no operator counts FLOPs.
    """

    routed: tuple[Trace, ...]
    full: tuple[Trace, ...]
    full_name: str
    waterfall: Waterfall | None


def compare(
    bundle: Bundle,
    calls: Sequence[Call],
    *,
    library: str,
    threads: int | None = None,
    static: Bundle | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Compared:
    """Run a clip through a routed bundle and its full static model, in turn.

    The full static model is the bundle's own dearest route on every region, or `static` if that is
    faster (by the median). Engines that time their operators are loaded once more, run on the same
    frames, and only say how an engine's time is shared out.

    Args:
        bundle: the routed model.
        calls: the clip; more than `WARMUP` of them.
        library: engine library of all of them.
        threads: CPU threads.
        static: a bundle without decisions, for frames of this size.
        progress: told which frame is run.

    Raises:
        InputError: the clip is too short, or does not fit a bundle, or `static` has decisions.
    """
    if len(calls) <= WARMUP:
        raise InputError(f"the clip has {len(calls)} calls, {WARMUP} of them warm up: give it more frames")
    backends = open_backend(library, threads), open_backend(library, threads, timed=True)
    height, width = calls[0][0].shape[-3:-1]
    routed, *full = _load(bundle, static, calls[0], (height, width), backends)
    for number, call in enumerate(calls):
        progress(f"frame {number + 1} of {len(calls)}")
        for runner in (routed, *full):
            runner.run(call)
    taken = min(full, key=_Runner.median_ms)
    static_cost = taken.cost()
    fall = waterfall(taken.name, routed.cost(), static_cost) if static_cost.work.total else None
    return Compared(tuple(routed.traces[WARMUP:]), tuple(taken.traces[WARMUP:]), taken.name, fall)


def _load(
    bundle: Bundle, static: Bundle | None, call: Call, size: tuple[int, int], backends: _Backends
) -> list[_Runner]:
    """The routed model, its dearest route, and the static bundle if there is one."""
    plan = select_plan(bundle.manifest.plans, *size)
    check_inputs(plan.inputs, tuple(call))
    route = full_route(plan, size)
    dearest = static_plan(plan, route)
    left = {variable.name for variable in dearest.variables}
    policy = Fixed(**{name: value for name, value in route.items() if name in left})
    runners = [
        _Runner.load("the routed model", bundle, plan, Own(), size, backends),
        _Runner.load(full_in_words(plan, route), bundle, dearest, policy, size, backends),
    ]
    if static is not None:
        own = _static(static, call, size)
        runners.append(_Runner.load(static.path.name, static, own, Own(), size, backends))
    return runners


def _static(static: Bundle, call: Call, size: tuple[int, int]) -> Plan:
    """The plan of a bundle that can be the full static model.

    Raises:
        InputError: it has decisions, or other inputs.
    """
    plan = select_plan(static.manifest.plans, *size)
    check_inputs(plan.inputs, tuple(call))
    if plan.variables:
        names = ", ".join(variable.name for variable in plan.variables)
        raise InputError(
            f"{static.path} decides {names}: give the bundle of a model without decisions as the static one"
        )
    return plan


def _work(trace: Trace, router: set[str]) -> Work:
    useful = halo = padding = decided = 0.0
    for engine in trace.engines:
        if engine.stage in router:
            decided += engine.flops * sum(engine.batches)
            continue
        useful += engine.flops * engine.regions * engine.patches
        halo += engine.flops * engine.regions * (1 - engine.patches)
        padding += engine.flops * (sum(engine.batches) - engine.regions)
    return Work(useful, halo, padding, decided)


def _spent(trace: Trace, router: set[str], shares: dict[str, _Shares]) -> Spent:
    ms = dict.fromkeys(("router", "convolutions", "operators", "launches"), 0.0)
    for engine in trace.engines:
        if engine.stage in router:
            ms["router"] += engine.ms
            continue
        share = shares[engine.graph]
        ms["convolutions"] += engine.ms * share.convolutions
        ms["operators"] += engine.ms * share.operators
        ms["launches"] += engine.ms * (1 - share.convolutions - share.operators)
    ms["batches"] = trace.spent("gather")
    ms["tiles"] = trace.spent("cut", "stitch")
    return Spent(**ms, rest=trace.total_ms - sum(ms.values()))


_T = TypeVar("_T", Work, Spent)


def _mean(costs: Sequence[_T]) -> _T:
    """The mean of every field."""
    kind = type(costs[0])
    return kind(*(float(np.mean([getattr(c, f.name) for c in costs])) for f in fields(kind)))
