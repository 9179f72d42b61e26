"""What a frame is expected to take on its routes: by engines' measured times, which every frame corrects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.plan import Plan, Stage
from edgeflow.ir.plan_routes import cheapest_route, selected, working_stages
from edgeflow.ir.program import FRAME, Route
from edgeflow.ir.route import Axis, Choice, Routes
from edgeflow.runtime.stream.batching import cover
from edgeflow.runtime.stream.loading import LoadedGraph
from edgeflow.runtime.stream.trace import EngineTrace, Trace

LEARNING = 0.1
"""How far a frame moves what an engine is expected to take, relative to others, towards what it took."""


class FrameCosts:
    """Milliseconds of frames by their routes: all batches that would run, and what lies between engines.

    Costs are relative: a slower machine is one for the controller, which compares whole frames with what was expected. So each
    frame corrects engines against one another, and leaves what it was expected to take itself as it is.

    Args:
        plan: what is executed; chains are taken as the steps that they stand for.
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
        graphs = {graph.key: graph for _, stage in self._stages for graph in stage.graphs}
        self._costs = {
            key: {batch: loaded[key].costs[batch] for batch in graph.batches} for key, graph in graphs.items()
        }
        self._scale = dict.fromkeys(graphs, 1.0)
        self._known: dict[tuple[object, ...], tuple[str, ...]] = {}
        self._host = 0.0
        self.cheapest = cheapest_route(plan, self._together)
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
        for engine in trace.engines:
            if engine.key in self._scale:
                wanted = self._scale[engine.key] * engine.ms / ratio / max(self._expected(engine), 1e-6)
                self._scale[engine.key] += LEARNING * (wanted - self._scale[engine.key])
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
            stages = [stage for number, stage in self._stages if number >= first and stage.regions == regions]
            self._known[known] = tuple(graph.key for stage in stages for graph in selected(stage, route))
        return self._known[known]

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
