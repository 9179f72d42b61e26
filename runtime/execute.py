"""Executes a plan for frames of one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Plan, Port, Stage, StageGraph
from edgeflow.ir.program import FRAME, Decision, Keep, Route, Sample, Shape, Stitch, Tile
from edgeflow.ir.route import Axis, Choice
from edgeflow.ir.rules import (
    Argmax,
    ConfidenceBelow,
    FirstNonZero,
    StreamContext,
    evenly,
)
from edgeflow.ir.tiles import Region, TileGrid, pool_map
from edgeflow.runtime.backends import Backend, Engine
from edgeflow.runtime.batching import cover
from edgeflow.runtime.policy import Policy
from edgeflow.runtime.rows import Array, Rows
from edgeflow.runtime.trace import EngineTrace, RegionTrace, Result, Trace

RUN_OVERHEAD = 0.25
"""What one run is taken to cost beside its regions, in regions."""


@dataclass
class _LoadedGraph:
    """A graph's engine and the arrays it writes, which grow to the largest group seen."""

    graph: StageGraph
    outputs: tuple[Port, ...]
    engine: Engine
    flops: int
    arrays: list[Array] = field(default_factory=list)
    scratch: dict[int, Array] = field(default_factory=dict)


@dataclass
class _Frame:
    """What is known while one frame runs. Regions stand in route order once routed."""

    inputs: Mapping[str, Array]
    values: dict[str, Rows] = field(default_factory=dict)
    routes: dict[str, NDArray[np.intp]] = field(default_factory=dict)
    tiles: dict[str, tuple[str, str]] = field(default_factory=dict)
    order: dict[str, NDArray[np.intp]] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)
    engines: list[EngineTrace] = field(default_factory=list)
    flops: int = 0
    gathered: int = 0


class Executor:
    """Loaded engines of one plan, and the stream's states.

    Args:
        bundle: where the graphs lie.
        plan: what to execute.
        backend: the engine library.
        policy: what to make of the model's decisions.
        size: (height, width) of the frames.
        exact: make images as float before rounding.
        progress: told how many engines are loaded, of how many.
    """

    def __init__(
        self,
        bundle: Bundle,
        plan: Plan,
        backend: Backend,
        policy: Policy,
        size: tuple[int, int],
        exact: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.plan, self._policy = plan, policy
        self._dims = {"height": size[0], "width": size[1]}
        self._exact = exact
        routes = [step for step in plan.steps if isinstance(step, Route)]
        self._owners = {d.variable.name: step.regions for step in routes for d in step.decisions}
        self._axes: dict[str, Axis] = {variable.name: variable.axis for variable in plan.variables}
        policy.check(self._axes)
        self._grids = {s.regions: TileGrid(*size, s.size, s.halo) for s in plan.steps if isinstance(s, Tile)}
        self._costs = {batch: RUN_OVERHEAD + batch for batch in plan.batches}
        self.loaded = self._load(bundle, backend, progress)
        self.reset()

    def reset(self) -> None:
        """Let every state hold its initial value."""
        self._context = StreamContext()
        self._states = {
            state.name: Rows.of(np.full((1, *self.sizes(state.shape)), state.fill, np.float32))
            for state in self.plan.states
        }

    def run(self, inputs: Sequence[Array]) -> Result:
        """Run one frame whose inputs were checked."""
        start = perf_counter()
        named = {spec.name: array for spec, array in zip(self.plan.inputs, inputs, strict=True)}
        frame = _Frame(named, dict(self._states))
        for name, array in named.items():
            frame.values[name] = Rows.of(np.ascontiguousarray(array)[None])
        for step in self.plan.steps:
            match step:
                case Tile():
                    for source, made in zip(step.inputs, step.outputs, strict=True):
                        frame.tiles[made] = (step.regions, source)
                case Route():
                    self._route(step, frame)
                case Stage():
                    self._run_stage(step, frame)
                case Stitch():
                    self._stitch(step, frame)
                case Keep():
                    self._keep(step, frame)
                case Sample():
                    self._sample(step, frame)
        outputs = tuple(self._output(name, frame) for name in self.plan.results)
        self._context.frame += 1
        total = (perf_counter() - start) * 1e3
        choices = self._choices(frame)
        trace = Trace(
            self._regions(choices), choices, tuple(frame.engines), frame.flops, total, frame.gathered
        )
        return Result(outputs, trace)

    def dearest_flops(self) -> int:
        """FLOPs of a frame whose every region takes the dearest variant of every stage."""
        return sum(
            max(self.loaded[graph.graph].flops for graph in stage.graphs) * self._count(stage.regions)
            for stage in self.plan.stages
        )

    # Loading --------------------------------------------------------------------------------

    def _load(
        self, bundle: Bundle, backend: Backend, progress: Callable[[int, int], None] | None
    ) -> dict[str, _LoadedGraph]:
        graphs = {graph.graph: graph for stage in self.plan.stages for graph in stage.graphs}
        loaded: dict[str, _LoadedGraph] = {}
        for name, graph in graphs.items():
            entry = bundle.manifest.graphs.get(name)
            if entry is None:
                raise BackendError(
                    f"bundle {bundle.path}: the plan names a graph {name} that it lacks; export again"
                )
            exact = {port.value: port for port in graph.exact} if self._exact else {}
            outputs = tuple(exact.get(port.value, port) for port in graph.outputs)
            engine = backend.load(
                bundle.path / entry.file, graph.inputs, outputs, self._dims, entry.precision
            )
            loaded[name] = _LoadedGraph(graph, outputs, engine, entry.flops)
            if progress:
                progress(len(loaded), len(graphs))
        return loaded

    def sizes(self, shape: Shape) -> tuple[int, ...]:
        """A shape with this frame's dimensions filled in."""
        return tuple(self._dims[d] if isinstance(d, str) else d for d in shape)

    # Steps ----------------------------------------------------------------------------------

    def _count(self, regions: str) -> int:
        return 1 if regions == FRAME else len(self._grids[regions])

    def _value(self, name: str, frame: _Frame) -> Rows:
        """A value's rows; tiles are cut when they are first read, in route order."""
        if name not in frame.values:
            regions, source = frame.tiles[name]
            grid = self._grids[regions]
            order = frame.order.setdefault(regions, np.arange(len(grid)))
            tiles = np.empty((len(grid), grid.size, grid.size, 3), np.uint8)
            grid.cut(frame.inputs[source], order, tiles)
            frame.values[name] = Rows.of(tiles)
        return frame.values[name]

    def _route(self, step: Route, frame: _Frame) -> None:
        count = self._count(step.regions)
        found: dict[str, NDArray[np.intp]] = {}
        for decision in step.decisions:
            own = self._own_choice(decision, step.regions, frame)
            found[decision.variable.name] = self._policy.choose(decision.variable, own)
        if step.regions not in frame.order and count > 1:
            order = np.lexsort([found[name] for name in reversed(found)])
            frame.order[step.regions] = order
            found = {name: chosen[order] for name, chosen in found.items()}
        frame.routes.update(found)

    def _own_choice(self, decision: Decision, regions: str, frame: _Frame) -> NDArray[np.intp]:
        rule, axis = decision.rule, decision.variable.axis
        if not isinstance(rule, Argmax | FirstNonZero | ConfidenceBelow):
            lengths = {spec.name: len(frame.inputs[spec.name]) for spec in self.plan.inputs}
            self._context.lengths = lengths
            return np.array([rule.choose(self._context, axis)])
        assert decision.scores is not None
        rows = self._value(decision.scores, frame)
        if decision.pooled:
            scores = pool_map(rows.row(0), self._grids[regions])
            return rule.decide(scores[frame.order[regions]] if regions in frame.order else scores, axis)
        scores = np.stack([rows.row(i) for i in range(self._count(regions))])
        return rule.decide(scores.reshape(len(scores), -1), axis)

    def _run_stage(self, stage: Stage, frame: _Frame) -> None:
        count = self._count(stage.regions)
        made = {
            name: self._value(other, frame).copy() if other is not None else Rows(count)
            for name, other in stage.otherwise
        }
        for graph in stage.graphs:
            regions = np.flatnonzero(graph.select.mask(frame.routes, self._axes, count))
            if len(regions):
                loaded = self.loaded[graph.graph]
                for port, array in zip(
                    loaded.outputs, self._run_graph(stage, graph, regions, frame), strict=True
                ):
                    made[port.value].put(regions, array)
                for name, source in graph.kept:
                    made[name].keep(regions, self._value(source, frame))
        frame.values.update(made)

    def _run_graph(
        self, stage: Stage, graph: StageGraph, regions: NDArray[np.intp], frame: _Frame
    ) -> list[Array]:
        """Run one graph for its regions in static batches; returns arrays with a row per region."""
        loaded = self.loaded[graph.graph]
        batches = cover(len(regions), self._costs) if stage.regions != FRAME else (1,)
        outputs = self._output_arrays(loaded, sum(batches))
        inputs = [self._value(port.value, frame) for port in graph.inputs]
        ms, first = 0.0, 0
        for batch in batches:
            members = regions[first : first + batch]
            arrays = [
                rows.take(members, self._scratch(loaded, i, port, frame), batch)
                for i, (rows, port) in enumerate(zip(inputs, graph.inputs, strict=True))
            ]
            start = perf_counter()
            loaded.engine.run(arrays, [array[first : first + batch] for array in outputs])
            ms += (perf_counter() - start) * 1e3
            first += batch
        frame.engines.append(EngineTrace(stage.name, graph.graph, len(regions), batches, ms))
        frame.flops += loaded.flops * sum(batches)
        return outputs

    def _output_arrays(self, loaded: _LoadedGraph, rows: int) -> list[Array]:
        if not loaded.arrays or len(loaded.arrays[0]) < rows:
            loaded.arrays = [np.empty((rows, *self.sizes(p.shape)), p.dtype) for p in loaded.outputs]
        return loaded.arrays

    def _scratch(
        self, loaded: _LoadedGraph, position: int, port: Port, frame: _Frame
    ) -> Callable[[int], Array]:
        def give(rows: int) -> Array:
            array = loaded.scratch.get(position)
            if array is None or len(array) < rows:
                array = loaded.scratch[position] = np.empty((rows, *self.sizes(port.shape)), port.dtype)
            frame.gathered += rows
            return array[:rows]

        return give

    def _stitch(self, step: Stitch, frame: _Frame) -> None:
        grid, rows = self._grids[step.regions], self._value(step.input, frame)
        order = frame.order.get(step.regions, np.arange(len(grid)))
        like = rows.row(0)
        exact = like.dtype != np.uint8
        shape = (
            (like.shape[0], grid.height, grid.width) if exact else (grid.height, grid.width, like.shape[2])
        )
        picture = np.empty(shape, like.dtype)
        target = picture.transpose(1, 2, 0) if exact else picture
        for position, number in enumerate(order.tolist()):
            tile = rows.row(position)
            grid.paste(tile.transpose(1, 2, 0) if exact else tile, number, target)
        frame.outputs[step.output] = picture

    def _keep(self, step: Keep, frame: _Frame) -> None:
        if step.when.mask(frame.routes, self._axes, 1)[0]:
            self._states[step.state] = Rows.of(self._value(step.input, frame).row(0)[None].copy())

    def _sample(self, step: Sample, frame: _Frame) -> None:
        count = int(self._axes[step.variable].values[int(frame.routes[step.variable][0])])
        clip = self._value(step.input, frame).row(0)
        frame.values[step.output] = Rows.of(clip[evenly(len(clip), count)][None])

    def _output(self, name: str, frame: _Frame) -> Array:
        found = frame.outputs.get(name)
        return found if found is not None else self._value(name, frame).row(0).copy()

    def _choices(self, frame: _Frame) -> dict[str, list[Choice]]:
        """Per variable the value of every region, in the order of the regions themselves."""
        choices: dict[str, list[Choice]] = {}
        for name, chosen in frame.routes.items():
            order = frame.order.get(self._owners[name])
            natural = chosen if order is None else chosen[np.argsort(order)]
            choices[name] = [self._axes[name].values[i] for i in natural.tolist()]
        return choices

    def _regions(self, choices: Mapping[str, list[Choice]]) -> tuple[RegionTrace, ...]:
        """The patches of the first tiling with their routes; the whole frame if there is none."""
        regions = FRAME
        patches: tuple[Region, ...] = (Region(0, 0, self._dims["height"], self._dims["width"]),)
        for name, grid in self._grids.items():
            regions, patches = name, grid.regions
            break
        own = [name for name in choices if self._owners[name] == regions]
        return tuple(
            RegionTrace(p.top, p.left, p.bottom, p.right, {name: choices[name][i] for name in own})
            for i, p in enumerate(patches)
        )
