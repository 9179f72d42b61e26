"""What a frame is expected to take on its routes: by engines' measured times, which every frame corrects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.plan import Plan, Stage
from edgeflow.ir.plan.routes import cheapest_route, selected, working_stages
from edgeflow.ir.program import FRAME, Route
from edgeflow.ir.route import Axis, Choice, Routes
from edgeflow.runtime.stream.batching import cover
from edgeflow.runtime.stream.loading import LoadedGraph
from edgeflow.runtime.stream.trace import EngineTrace, Trace

LEARNING = 0.1
"""How far a frame moves what an engine is expected to take, relative to others, towards what it took."""


FADES = 0.999
"""What a frame leaves of the expected cost of an engine that it did not run: one that was measured in a slow moment is tried again."""
MOST = 2.0
"""A run that took more than so many times what was expected, relative to others, was interrupted, and counts as no more."""


class FrameCosts:
    """Milliseconds of frames by their routes: all batches that would run, and what lies between engines.

    Costs are relative: a slower machine is one for the controller, which compares whole frames with what was expected. So each
    frame corrects engines against one another, and leaves what it was expected to take itself as it is.

    Args:
        plan: what is executed. A chain is taken to run in its steps' place where a frame's routes are those of one of its graphs.
        loaded: its graphs, with what runs of them cost.
        counts: regions of each region set.
        read: values that decisions read, as `working_stages` wants them.

    Attributes:
        counts: regions of each region set.
        axes: by variable.
        cheapest: the value of every variable at which a frame takes least.
        routing: the plan's steps that decide, by their numbers.
    """

    def __init__(
        self, plan: Plan, loaded: Mapping[str, LoadedGraph], counts: Mapping[str, int], read: frozenset[str]
    ) -> None:
        self.counts = counts
        self.axes: dict[str, Axis] = {variable.name: variable.axis for variable in plan.variables}
        working = working_stages(plan, read)
        self._stages = [
            (number, step)
            for number, step in enumerate(plan.steps)
            if isinstance(step, Stage) and step.name in working
        ]
        self._reads = {name: self._variables(name) for name in counts}
        self._chains = plan.chains
        graphs = {graph.key: graph for _, stage in self._stages for graph in stage.graphs}
        graphs |= {graph.key: graph for chain in plan.chains for graph in chain.graphs}
        self._costs = {
            key: {batch: loaded[key].costs[batch] for batch in graph.batches} for key, graph in graphs.items()
        }
        self._scale = dict.fromkeys(graphs, 1.0)
        self._known: dict[tuple[object, ...], tuple[str, ...]] = {}
        self._host = 0.0
        self.cheapest = cheapest_route(plan, self._together)
        self._prefer_chains()
        self.routing = {number: step for number, step in enumerate(plan.steps) if isinstance(step, Route)}

    def frame(self, routes: Routes, first: int = 0) -> float:
        """Milliseconds of a frame.

        Args:
            routes: (regions,) or (1,) per variable, regions in their own order; variables that are not named go the cheapest way.
            first: number of the plan's step from which on time counts.
        """
        runs: Counter[str] = Counter()
        for regions, count in self.counts.items():
            for taken, times in self._taken(regions, routes, count).items():
                for key in self._running(regions, first, taken):
                    runs[key] += times
        return self._host + sum(self._covered(key, times) for key, times in runs.items())

    def region(self, regions: str, routes: Mapping[str, int], first: int) -> float:
        """Milliseconds that hang on one region, where engines run in their best batches; on the frame hang all its tiles.

        Args:
            regions: its region set.
            routes: position on its axis per variable; variables that are not named go the cheapest way.
            first: number of the plan's step from which on time counts.
        """
        hanging = self.counts if regions == FRAME else {regions: 1}
        return sum(
            count * self._row(key)
            for name, count in hanging.items()
            for key in self._running(name, first, self._at(name, routes))
        )

    def settle(self, trace: Trace) -> None:
        """Take what lies between engines from a first frame, as long as nothing is known of it."""
        if not self._host:
            ran = [engine for engine in trace.engines if engine.key in self._scale]
            expected = sum(self._expected(engine) for engine in ran)
            took = sum(engine.ms for engine in ran)
            self._host = (trace.total_ms - trace.engines_ms) * expected / max(took, 1e-6)

    def observe(self, trace: Trace, ratio: float) -> None:
        """Correct what engines, and what lies between them, are expected to take.

        Args:
            trace: of a frame that was run.
            ratio: what it took, over what it was expected to.
        """
        ran = {engine.key for engine in trace.engines}
        self._scale.update((key, FADES * scale) for key, scale in self._scale.items() if key not in ran)
        for engine in trace.engines:
            if engine.key in self._scale:
                wanted = engine.ms / ratio / max(self._expected(engine), 1e-6)
                self._scale[engine.key] *= 1 + LEARNING * (min(wanted, MOST) - 1)
        self._host += LEARNING * ((trace.total_ms - trace.engines_ms) / ratio - self._host)

    def _expected(self, engine: EngineTrace) -> float:
        """Milliseconds that an engine's runs in a frame were expected to take."""
        return self._scale[engine.key] * sum(self._costs[engine.key][batch] for batch in engine.batches)

    def _variables(self, regions: str) -> tuple[str, ...]:
        """Variables that stages of a region set read."""
        stages = [stage for _, stage in self._stages if stage.regions == regions]
        read = {name for stage in stages for graph in stage.graphs for name in graph.select.variables}
        return tuple(name for name in self.axes if name in read)

    def _taken(self, regions: str, routes: Routes, count: int) -> Counter[tuple[int, ...]]:
        """How many regions take which positions, of the variables that matter to them."""
        columns: list[list[int]] = []
        for name in self._reads[regions]:
            chosen: NDArray[np.intp] | None = routes.get(name)
            values = [self._cheap(name)] if chosen is None else chosen.tolist()
            columns.append(values if len(values) == count else values * count)
        return Counter(zip(*columns, strict=True)) if columns else Counter({(): count})

    def _at(self, regions: str, routes: Mapping[str, int]) -> tuple[int, ...]:
        """Positions of the variables that matter to a region set."""
        return tuple(routes.get(name, self._cheap(name)) for name in self._reads[regions])

    def _cheap(self, name: str) -> int:
        return self.axes[name].index(self.cheapest[name])

    def _running(self, regions: str, first: int, taken: tuple[int, ...]) -> tuple[str, ...]:
        """Keys of the graphs that run for a region, from a step on."""
        known = (regions, first, taken)
        if known not in self._known:
            route = {
                name: self.axes[name].values[place]
                for name, place in zip(self._reads[regions], taken, strict=True)
            }
            self._known[known] = tuple(self._engines(regions, first, route))
        return self._known[known]

    def _engines(self, regions: str, first: int, route: Mapping[str, Choice]) -> Iterator[str]:
        """Keys of the graphs that run for a region on a route, from a step on."""
        chained = self._chained(route) if regions == FRAME else {}
        for number, stage in self._stages:
            if stage.regions != regions or number < first:
                continue
            if number not in chained:
                yield from (graph.key for graph in selected(stage, route))
            elif key := chained[number]:
                yield key

    def _chained(self, route: Mapping[str, Choice]) -> dict[int, str]:
        """By the steps that chains run on this route: the chain's key at its first step, nothing at the others."""
        found: dict[int, str] = {}
        for chain in self._chains:
            for graph in chain.graphs:
                if all(route.get(name) == value for name, value in graph.variant):
                    found |= dict.fromkeys(range(chain.first, chain.end), "") | {chain.first: graph.key}
                    break
        return found

    def _prefer_chains(self) -> None:
        """Let the cheapest route be one that chains run, where that takes less."""
        for variant in [dict(graph.variant) for chain in self._chains for graph in chain.graphs]:
            before, known = self.frame({}), self.cheapest
            self.cheapest = {**known, **variant}
            if self.frame({}) >= before:
                self.cheapest = known

    def _covered(self, key: str, count: int) -> float:
        costs = self._costs[key]
        return self._scale[key] * sum(costs[batch] for batch in cover(count, costs))

    def _row(self, key: str) -> float:
        return self._scale[key] * min(ms / batch for batch, ms in self._costs[key].items())

    def _together(self, stages: Sequence[Stage], route: Mapping[str, Choice]) -> float:
        """Milliseconds of some stages where all regions take one route."""
        return sum(
            self._covered(graph.key, self.counts[stage.regions])
            for stage in stages
            for graph in selected(stage, route)
            if graph.key in self._costs
        )
