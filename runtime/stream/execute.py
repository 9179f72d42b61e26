"""Executes a plan for frames of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.interface import Interface, to_picture
from edgeflow.ir.plan import Chain, Plan, Port, Stage, StageGraph, Step
from edgeflow.ir.plan.routes import full_route, route_flops, working_stages
from edgeflow.ir.program import FRAME, Keep, Route, Sample, Shape, Stitch, Tile
from edgeflow.ir.route import Choice
from edgeflow.ir.sampling import evenly
from edgeflow.ir.tiles import Region, TileGrid, blend
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.stream.batching import cover
from edgeflow.runtime.stream.chains import Guesses
from edgeflow.runtime.stream.decisions import Decisions
from edgeflow.runtime.stream.finite import Means, check_output, check_pictures
from edgeflow.runtime.stream.frame import Frame
from edgeflow.runtime.stream.loading import LoadedGraph, dims_of, sizes_of
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.stream.regions import RegionRoutes
from edgeflow.runtime.stream.rows import Array, Rows
from edgeflow.runtime.stream.states import States
from edgeflow.runtime.stream.trace import ChainTrace, EngineTrace, Result, Trace

Watch: TypeAlias = Callable[[StageGraph, Sequence[Array], Sequence[Array]], None]
"""Told after every run of an engine: its graph, and what it read and wrote, arrays with a row per region that others write over."""


class Executor:
    """Loaded engines of one plan, and the stream's states.

    Args:
        plan: what to execute.
        loaded: its graphs.
        memory: that their engines read and write.
        policy: what to make of the model's decisions.
        size: (height, width) of the frames.
        exact: pictures come out as (3, h, w) float32 before rounding.
        watch: told what every engine reads and writes.

    Attributes:
        size: of the frames.
    """

    def __init__(
        self,
        plan: Plan,
        loaded: dict[str, LoadedGraph],
        memory: Memory,
        policy: Policy,
        size: tuple[int, int],
        exact: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.plan, self.loaded, self._exact, self._watch = plan, loaded, exact, watch
        self.size, self._dims = size, dims_of(size)
        self._memory = memory
        self._grids = {s.regions: s.grid(*size) for s in plan.steps if isinstance(s, Tile)}
        self._decisions = Decisions(plan, policy, self._grids, memory, loaded)
        self._regions = RegionRoutes(plan, self._grids, self._decisions.axes, self._decisions.owners, size)
        self._working = working_stages(plan, self._decisions.read)
        self._guesses = Guesses(plan, self._decisions.axes)
        self._patches = {name: _patch_shares(grid) for name, grid in self._grids.items()}
        self._tiles: dict[str, Array] = {}
        self._pictures: dict[str, Array] = {}
        counts = {state.name: self._count(state.regions) for state in plan.states}
        self._states = States(plan, memory, counts, self.sizes)
        self.reset()

    def reset(self) -> None:
        """Let every state hold its initial value."""
        self._decisions.reset()
        self._memory.begin_frame()
        self._states.reset()
        self._memory.wait()  # the next frame writes over what was uploaded

    def run(self, inputs: Sequence[Array]) -> Result:
        """Run one frame whose inputs were checked."""
        start = perf_counter()
        self._decisions.begin(start)
        named = {spec.name: array for spec, array in zip(self.plan.inputs, inputs, strict=True)}
        self._memory.begin_frame()
        frame = Frame(named, self._memory, self._memory.mark())
        for name, array in named.items():
            frame.values[name] = Rows.of(self._memory.upload(array)[None])
        number = 0
        while number < len(self.plan.steps):
            chain = self._guesses.chains.get(number)
            if chain is not None and self._run_chain(chain, frame):
                number = chain.end
            else:
                self._run_step(self.plan.steps[number], frame)
                number += 1
        outputs = tuple(self._output(name, frame) for name in self.plan.results)
        for spec, output in zip(self.plan.outputs, outputs, strict=True):
            check_output(spec.name, output)
        check_pictures(frame.means, self._memory)
        outputs = tuple(map(self._made, self.plan.outputs, outputs))
        self._write_states(frame)
        self._decisions.advance(self._in_place(frame))
        self._memory.wait()
        total = (perf_counter() - start) * 1e3
        trace = self._trace(frame, total)
        self._decisions.ended(trace)
        return Result(outputs, trace)

    def _run_step(self, step: Step, frame: Frame) -> None:
        match step:
            case Tile():
                for source, made in zip(step.inputs, step.outputs, strict=True):
                    frame.tiles[made] = (step.regions, source)
            case Route():
                self._route(step, frame)
            case Stage():
                if step.name in self._working:
                    self._run_stage(step, frame)
            case Stitch():
                self._stitch(step, frame)
            case Keep():
                self._keep(step, frame)
            case Sample():
                self._sample(step, frame)

    def _run_chain(self, chain: Chain, frame: Frame) -> bool:
        """Run a chain's steps as one engine, if a route is guessed and turns out right; else nothing is known of them."""
        graph = self._guesses.guess(chain, frame.routes, self._decisions.before)
        if graph is None:
            return False
        values, routes, means = dict(frame.values), dict(frame.routes), len(frame.means)
        outputs = self._run_graph(f"chain {chain.first}", FRAME, graph, np.zeros(1, np.intp), frame)
        frame.values.update((p.value, Rows.of(a)) for p, a in zip(graph.outputs, outputs, strict=True))
        frame.values.update((name, self._value(source, frame)) for name, source in graph.kept)
        for step in self.plan.steps[chain.first : chain.end]:
            if isinstance(step, Route):
                self._route(step, frame)
                if not self._guesses.agrees(graph, frame.routes):
                    left = step.decisions[0].variable.name
                    frame.chains.append(ChainTrace(graph.graph, left))
                    frame.values, frame.routes = values, routes
                    del frame.means[means:]
                    return False
        frame.chains.append(ChainTrace(graph.graph, None))
        return True

    def _trace(self, frame: Frame, total_ms: float) -> Trace:
        """What a frame did, when all of it is done."""
        choices, spans = self._choices(frame), frame.spans()
        engines = tuple(
            replace(engine, ms=sum(spans[number].ms for number in runs)) for engine, runs in frame.engines
        )
        regions, chains = self._regions.of(choices), tuple(frame.chains)
        return Trace(regions, choices, engines, frame.flops, total_ms, frame.gathered, spans, chains)

    def dearest_flops(self) -> int:
        """FLOPs of a frame of which all is computed, see `full_route`."""
        return route_flops(self.plan, self.size, full_route(self.plan, self.size))

    def sizes(self, shape: Shape) -> tuple[int, ...]:
        """A shape with this frame's dimensions filled in."""
        return sizes_of(shape, self._dims)

    # Steps ----------------------------------------------------------------------------------

    def _count(self, regions: str) -> int:
        return 1 if regions == FRAME else len(self._grids[regions])

    def _value(self, name: str, frame: Frame) -> Rows:
        """A value's rows; tiles are cut, and states put in route order, when they are first read."""
        if name not in frame.values:
            if name in self._states.regions:
                order = self._order(self._states.regions[name], frame)
                frame.values[name] = self._states.rows(name, order)
            else:
                frame.values[name] = self._cut(name, frame)
        return frame.values[name]

    def _order(self, regions: str, frame: Frame) -> NDArray[np.intp]:
        """The order in which regions stand, which is theirs from now on."""
        if regions == FRAME:
            return np.zeros(1, np.intp)
        return frame.order.setdefault(regions, np.arange(len(self._grids[regions])))

    def _cut(self, name: str, frame: Frame) -> Rows:
        start = self._memory.mark()
        regions, source = frame.tiles[name]
        grid, order = self._grids[regions], self._order(regions, frame)
        value = self._value(source, frame)
        whole = value.row(0)
        if len(whole.shape) == 1:  # such as a time: every tile's as it is
            return value.repeated(len(grid))
        tiles = self._tiles.get(name)
        if tiles is None:
            sides = (grid.size, grid.size)
            pixels = (*sides, whole.shape[2]) if whole.dtype == np.uint8 else (whole.shape[0], *sides)
            tiles = self._tiles[name] = self._memory.empty((len(grid), *pixels), whole.dtype)
        self._memory.cut(whole, grid, order, tiles)
        frame.spent("cut", name, start)
        return Rows.of(tiles)

    def _route(self, step: Route, frame: Frame) -> None:
        ordered = frame.order.get(step.regions)
        lengths = {name: len(array) for name, array in frame.inputs.items()}
        found = self._decisions.decide(step, ordered, lengths, lambda name: self._value(name, frame))
        if ordered is None and self._count(step.regions) > 1:
            order = np.lexsort([found[name] for name in reversed(found)])
            frame.order[step.regions] = order
            found = {name: chosen[order] for name, chosen in found.items()}
        frame.routes.update(found)

    def _run_stage(self, stage: Stage, frame: Frame) -> None:
        count = self._count(stage.regions)
        made = {
            name: self._value(other, frame).copy() if other is not None else Rows(count)
            for name, other in stage.otherwise
        }
        for graph in stage.graphs:
            regions = np.flatnonzero(graph.select.mask(frame.routes, self._decisions.axes, count))
            if len(regions):
                for port, array in zip(
                    graph.outputs,
                    self._run_graph(stage.name, stage.regions, graph, regions, frame),
                    strict=True,
                ):
                    made[port.value].put(regions, array)
                for name, source in graph.kept:
                    made[name].keep(regions, self._value(source, frame))
        frame.values.update(made)

    def _run_graph(
        self, name: str, owner: str, graph: StageGraph, regions: NDArray[np.intp], frame: Frame
    ) -> list[Array]:
        """Run one graph of a stage or chain, of a region set, in static batches; returns arrays with a row per region."""
        loaded = self.loaded[graph.key]
        batches = cover(len(regions), {batch: loaded.costs[batch] for batch in graph.batches})
        outputs = self._output_arrays(loaded, sum(batches))
        inputs = [self._value(port.value, frame) for port in graph.inputs]
        runs: list[int] = []
        first = 0
        for batch in batches:
            members = regions[first : first + batch]
            start = self._memory.mark()
            arrays = [
                rows.take(members, self._memory, self._scratch(loaded, i, port, frame), batch)
                for i, (rows, port) in enumerate(zip(inputs, graph.inputs, strict=True))
            ]
            frame.spent("gather", graph.graph, start)
            means = self._means_arrays(loaded, len(runs), batch)
            places = self._places(owner, members, frame)
            frame.means += [Means(loaded, places, array) for array in means]
            start = self._memory.mark()
            written = [*(array[first : first + batch] for array in outputs), *means]
            loaded.run(arrays, written)
            runs.append(frame.spent("engine", graph.graph, start))
            if self._watch:
                self._watch(graph, arrays, written)
            first += batch
        patches = self._patch_share(owner, regions, frame)
        flops = graph.flops_at(self.size)
        engine = EngineTrace(name, graph.graph, graph.key, len(regions), batches, 0.0, flops, patches)
        frame.engines.append((engine, runs))
        frame.flops += flops * sum(batches)
        return outputs

    def _patch_share(self, regions: str, members: NDArray[np.intp], frame: Frame) -> float:
        """Share of these regions' pixels that lie in their patches."""
        if regions == FRAME:
            return 1.0
        order = frame.order.get(regions)
        return float(self._patches[regions][members if order is None else order[members]].mean())

    def _places(self, regions: str, members: NDArray[np.intp], frame: Frame) -> list[Region]:
        """Where these regions lie, without their halos."""
        if regions == FRAME:
            return [Region(0, 0, self._dims["height"], self._dims["width"])]
        order = frame.order.get(regions)
        numbers = members if order is None else order[members]
        return [self._grids[regions].regions[number] for number in numbers.tolist()]

    def _output_arrays(self, loaded: LoadedGraph, rows: int) -> list[Array]:
        if not loaded.arrays or len(loaded.arrays[0]) < rows:
            loaded.arrays = self._empty(loaded.values, rows)
        return loaded.arrays

    def _means_arrays(self, loaded: LoadedGraph, run: int, rows: int) -> list[Array]:
        """What a graph's run of this number within a frame writes the means of its pictures to."""
        if run == len(loaded.means):
            loaded.means.append(self._empty(loaded.told, max(loaded.graph.batches)))
        return [array[:rows] for array in loaded.means[run]]

    def _empty(self, ports: Sequence[Port], rows: int) -> list[Array]:
        return [self._memory.empty((rows, *self.sizes(port.shape)), held(port.dtype)) for port in ports]

    def _scratch(
        self, loaded: LoadedGraph, position: int, port: Port, frame: Frame
    ) -> Callable[[int], Array]:
        def give(rows: int) -> Array:
            array = loaded.scratch.get(position)
            if array is None or len(array) < rows:
                shape = (rows, *self.sizes(port.shape))
                array = loaded.scratch[position] = self._memory.empty(shape, held(port.dtype))
            frame.gathered += rows
            return array[:rows]

        return give

    def _stitch(self, step: Stitch, frame: Frame) -> None:
        grid, rows = self._grids[step.regions], self._value(step.input, frame)
        if not rows.made:
            frame.values[step.output] = Rows(1)
            return
        start = self._memory.mark()
        order = frame.order.get(step.regions, np.arange(len(grid)))
        like = rows.row(0)
        scale = like.shape[1] // grid.size
        if step.blend:
            frame.values[step.output] = Rows.of(self._blended(step, rows, order)[None])
            frame.spent("stitch", step.output, start)
            return
        height, width = scale * grid.height, scale * grid.width
        planes = like.dtype != np.uint8
        shape = (like.shape[0], height, width) if planes else (height, width, like.shape[2])
        picture = self._pictures.pop(step.output, None)
        if picture is None:
            picture = self._memory.empty(shape, like.dtype)
        self._memory.paste([rows.row(i) for i in range(len(order))], grid, order, picture)
        frame.values[step.output] = Rows.of(picture[None])
        if step.output in self.plan.results:
            frame.outputs[step.output] = self._memory.download(picture)
        if frame.outputs.get(step.output) is not picture:
            self._pictures[step.output] = picture  # nobody was given it, so the next frame may write here
        frame.spent("stitch", step.output, start)

    def _blended(self, step: Stitch, rows: Rows, order: NDArray[np.intp]) -> Array:
        """The frame of tiles that fade into each other, in float32."""
        grid = self._grids[step.regions]
        tiles = np.stack([self._memory.download(rows.row(int(i))) for i in np.argsort(order)])
        return self._memory.upload(blend(tiles.astype(np.float32, copy=False), grid))

    def _keep(self, step: Keep, frame: Frame) -> None:
        regions = self._states.regions[step.state]
        value = self._value(step.input, frame)
        order = self._order(regions, frame)
        mask = np.broadcast_to(step.when.mask(frame.routes, self._decisions.axes, len(order)), len(order))
        if mask.any():
            kept = frame.kept.setdefault(step.state, self._states.rows(step.state, order))
            kept.keep(np.flatnonzero(mask), value)

    def _write_states(self, frame: Frame) -> None:
        for name, rows in frame.kept.items():
            start = self._memory.mark()
            self._states.write(name, rows, self._order(self._states.regions[name], frame))
            frame.spent("keep", name, start)

    def _sample(self, step: Sample, frame: Frame) -> None:
        count = int(self._decisions.axes[step.variable].values[int(frame.routes[step.variable][0])])
        clip = self._value(step.input, frame).row(0)
        rows = np.array(evenly(len(clip), count))
        sampled = self._memory.empty((1, count, *clip.shape[1:]), clip.dtype)
        self._memory.copy_rows(clip, rows, sampled[0])
        frame.values[step.output] = Rows.of(sampled)

    def _output(self, name: str, frame: Frame) -> Array:
        found = frame.outputs.get(name)
        return found if found is not None else self._memory.download(self._value(name, frame).row(0)).copy()

    def _made(self, spec: Interface, output: Array) -> Array:
        """An output as the session gives it: pictures that stayed in float are rounded now."""
        if self._exact or not spec.image or output.dtype == np.uint8:
            return output
        return to_picture(output)

    def _choices(self, frame: Frame) -> dict[str, list[Choice]]:
        """Per variable the value of every region, in the order of the regions themselves."""
        axes = self._decisions.axes
        return {
            name: [axes[name].values[i] for i in chosen.tolist()]
            for name, chosen in self._in_place(frame).items()
        }

    def _in_place(self, frame: Frame) -> dict[str, NDArray[np.intp]]:
        """What every region took, in the order of the regions themselves: steps keep them in route order."""
        orders = {name: frame.order.get(self._decisions.owners[name]) for name in frame.routes}
        return {
            name: chosen if (order := orders[name]) is None else chosen[np.argsort(order)]
            for name, chosen in frame.routes.items()
        }


def _patch_shares(grid: TileGrid) -> NDArray[np.float64]:
    """Share of each tile's pixels that lie in its patch: (tiles,)."""
    return np.array([(r.bottom - r.top) * (r.right - r.left) for r in grid.regions]) / grid.size**2
