"""Writes the graphs, goldens and weights of plans into a bundle's folder."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeflow.export.bundle_draft import BundleDraft
from edgeflow.export.drafts import ChainDraft, StageDraft, Variant
from edgeflow.export.lowering.graphs import Lowered
from edgeflow.export.lowering.link import link
from edgeflow.export.lowering.row_bands import in_bands
from edgeflow.export.lowering.share import share
from edgeflow.export.needed_release import for_operators
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.pack.golden import Arrays, GoldenMaker, combined, golden_clip
from edgeflow.export.planning.ports import stage_graph
from edgeflow.export.planning.priced import PricedPlan
from edgeflow.export.plugins.nodes import PLUGINS
from edgeflow.export.sample import sample_calls
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.export.weights import WeightFile
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.bundle import WEIGHTS, GraphEntry
from edgeflow.ir.bundle.golden import sizes_file
from edgeflow.ir.errors import EdgeflowError, ExportError
from edgeflow.ir.plan import Chain, Plan, Stage, StageGraph
from edgeflow.ir.plan.faults import plan_faults
from edgeflow.ir.program import Program, Value, reads, writes
from edgeflow.ir.route import Assignment
from edgeflow.targets import Target

GOLDEN_SIZE = (180, 320)
"""(height, width) of golden frames whose size is free; portrait is turned."""

OTHER_SIZES = ((144, 144), (145, 227), (72, 512), (64, 80), (352, 624))
"""(height, width) of golden frames for graphs that read frames of any size: square, odd, wide, small and large."""

GOLDEN_CALLS = 3
"""Calls of whole frames that are kept; one of a flow without states and decisions, of which others would say nothing more."""


@dataclass(frozen=True)
class Asked:
    """What an export was asked for, and what is known of it.

    Attributes:
        reference: how to build the model again.
        frames: of a clip (h, w, 3) uint8, for the goldens; may be none.
        goldens: whether the bundle gets golden vectors.
        provenance: versions, and what else the manifest says of the export.
    """

    reference: Mapping[str, Any]
    frames: Sequence[NDArray[np.uint8]]
    goldens: bool
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class _Makers:
    """What makes golden vectors: at the golden frames' size, and at others by (height, width)."""

    own: GoldenMaker
    others: Mapping[tuple[int, int], GoldenMaker]


@dataclass
class _Packer:
    """Writes into a bundle's folder, and keeps what it wrote.

    Attributes:
        weights: of all graphs.
        graphs: that were written, by their ids.
        timed: milliseconds per batch size of engines that were timed, by key of the plan's graph.
        checked: variants of segments that were found to be functions of their regions.
        operators: that the library has to run: of graphs that no kernel stands for.
    """

    folder: Path
    model: RoutedModule
    target: Target
    lowered: Lowered
    asked: Asked
    watch: Stopwatch
    weights: WeightFile = field(default_factory=lambda: WeightFile(Path(WEIGHTS).name))
    graphs: dict[str, GraphEntry] = field(default_factory=dict)
    timed: dict[str, Mapping[int, float]] = field(default_factory=dict)
    checked: set[Hashable] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        (self.folder / "graphs").mkdir()
        (self.folder / "golden").mkdir()

    def _add_graph(
        self, stage: str, model: onnx.ModelProto, segments: tuple[str, ...], kernel: KernelDraft | None
    ) -> str:
        """Write a graph unless the same one is there; returns its id."""
        graph, moved = self.weights.externalised(model)
        data = graph.SerializeToString(deterministic=True)
        name = f"{stage}-{hashlib.sha256(data).hexdigest()[:12]}"
        if name not in self.graphs:
            file = f"graphs/{name}.onnx"
            (self.folder / file).write_bytes(data)
            types = {node.op_type for node in graph.graph.node}
            plugins = tuple(sorted(types & set(PLUGINS)))
            placed = self.weights.add_kernel(kernel) if kernel else None
            self.operators |= set() if kernel else types
            entry = GraphEntry(file, segments, len(graph.graph.node), moved, plugins=plugins, kernel=placed)
            self.graphs[name] = entry
        return name

    def _add_golden(self, graph: StageGraph, make: Callable[[], Arrays]) -> None:
        """Write a graph's golden vectors unless they are there."""
        if self.asked.goldens and not (self.folder / graph.golden).exists():
            with self.watch.part("goldens"):
                self._add_arrays(graph.golden, make())

    def _add_golden_sizes(
        self,
        golden: str,
        kind: str,
        variant: Variant,
        makers: Mapping[tuple[int, int], GoldenMaker],
    ) -> None:
        """Write a graph's golden vectors at other frame sizes, unless they are there.

        Raises:
            ExportError: the model cannot run at one of these sizes.
        """
        file = sizes_file(golden, kind)
        if not self.asked.goldens or (self.folder / file).exists():
            return
        arrays: Arrays = {}
        with self.watch.part("goldens"):
            for (height, width), maker in makers.items():
                try:
                    made = maker.of(variant)
                except EdgeflowError:
                    raise
                except Exception as error:
                    segments = ", ".join(part.call.segment for part in variant.links)
                    raise ExportError(
                        f"segment {segments}: cannot run on frames of {width}x{height} ({error}): fix the frame's size with "
                        "--size WIDTHxHEIGHT, or make the segment work at any size"
                    ) from error
                arrays |= {f"{height}x{width}/{name}": array for name, array in made.items()}
        self._add_arrays(file, arrays)

    def _add_arrays(self, file: str, arrays: Arrays) -> None:
        """Write a compressed npz file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        (self.folder / file).write_bytes(buffer.getvalue())

    def pack(self, priced: PricedPlan, kind: str) -> Plan:
        """Write a plan's graphs and goldens; returns the plan that names them."""
        program = priced.program
        size = GOLDEN_SIZE if kind != "portrait" else GOLDEN_SIZE[::-1]
        count = (
            GOLDEN_CALLS if program.states or program.variables else 2
        )  # the one before, and the one that is kept
        calls = sample_calls(program.inputs, (size[0], size[1]), count, self.asked.frames, program.task)
        wanted = [variant for chain in priced.chains for variant in chain.variants]
        wanted += [variant for stage in priced.draft.stages for variant in stage.variants]
        routes = combined([variant.variant for variant in wanted])
        makers = _Makers(
            self._maker(program, calls, routes),
            {
                shape: self._maker(program, sample_calls(program.inputs, shape, 2, task=program.task), routes)
                for shape in _other_sizes(kind)
            },
        )
        steps = [
            self._stage(priced, step, makers) if isinstance(step, StageDraft) else step
            for step in priced.draft.steps
        ]
        if self.asked.goldens:
            kept = calls if program.states or program.variables else calls[-1:]
            with self.watch.part("goldens"):
                self._add_arrays(f"golden/clip-{kind}.npz", golden_clip(self.model, kept))
        done = Plan(
            priced.draft.strategy,
            program.inputs,
            program.outputs,
            program.results,
            program.states,
            _used(program, steps),
            tuple(steps),
            tuple(self._chain(priced, chain, makers) for chain in priced.chains),
        )
        if fault := next(plan_faults(done, "plan"), None):
            raise ExportError(f"{fault}; this is a fault of edgeflow, please report it")
        return done

    def _maker(
        self, program: Program, calls: Sequence[Sequence[NDArray[Any]]], routes: Sequence[Assignment]
    ) -> GoldenMaker:
        return GoldenMaker(self.model, program, calls, routes, self.checked)

    def _stage(self, priced: PricedPlan, stage: StageDraft, makers: _Makers) -> Stage:
        """A stage's graphs: one file for all variants that differ in nothing but shapes."""
        program = priced.program
        images = {value.name for value in program.values if value.image}
        linked = []
        for variant in stage.variants:
            parts = {part: self.lowered.graph(program, part) for part in variant.links}
            linked.append(in_bands(link(variant, parts, images), priced.bands.get((stage.name, variant))))
        # Engines at int8 are calibrated each with its own inputs, so they share nothing but weights.
        models = linked if self.target.precision == "int8" else share(linked)
        made = [
            self._graph(priced, stage, variant, model, makers)
            for variant, model in zip(stage.variants, models, strict=True)
        ]
        segments = tuple(call.segment for call in stage.calls)
        return Stage(stage.name, stage.regions, segments, _merged(made), stage.otherwise)

    def _chain(self, priced: PricedPlan, chain: ChainDraft, makers: _Makers) -> Chain:
        program = priced.program
        images = {value.name for value in program.values if value.image}
        graphs = []
        for variant in chain.variants:
            model = link(variant, {part: self.lowered.graph(program, part) for part in variant.links}, images)
            graphs.append(self._graph(priced, chain, variant, model, makers))
        return Chain(chain.first, chain.end, tuple(graphs))

    def _graph(
        self,
        priced: PricedPlan,
        stage: StageDraft | ChainDraft,
        variant: Variant,
        model: onnx.ModelProto,
        makers: _Makers,
    ) -> StageGraph:
        program, engine = priced.program, priced.variants[stage.name, variant]
        name = self._add_graph(
            stage.name, model, tuple(part.call.segment for part in variant.links), engine.kernel
        )
        graph = stage_graph(program, variant, name, engine.flops, engine.batches)
        graph = replace(graph, expected=engine.regions, flops_per_pixel=engine.flops_per_pixel)
        if engine.ms:
            self.timed[graph.key] = engine.ms
        self._add_golden(graph, lambda: makers.own.of(variant))
        if _is_free(graph):
            self._add_golden_sizes(graph.golden, program.frame, variant, makers.others)
        return graph


def pack(
    into: Path,
    model: RoutedModule,
    target: Target,
    priced: Mapping[str, PricedPlan],
    lowered: Lowered,
    asked: Asked,
    watch: Stopwatch,
) -> BundleDraft:
    """Write the graphs, goldens and weights of a model's plans, at fp32.

    Args:
        into: the bundle's folder, empty.
        model: whose plans they are.
        target: that it is for.
        priced: the plans, by kind of frame.
        lowered: the graphs of the model's segments.
        asked: what the export was asked for.
        watch: told what it takes.

    Raises:
        ExportError: a segment is no function of its regions, or cannot run at some frame size.
    """
    task = next(iter(priced.values())).program.task
    packer = _Packer(into, model, target, lowered, asked, watch)
    plans = {kind: packer.pack(plan, kind) for kind, plan in priced.items()}
    packer.weights.write(into / WEIGHTS)
    decisions = {kind: dict(plan.decision) for kind, plan in priced.items() if plan.decision}
    provenance = {**asked.provenance, "decisions": decisions}
    needing = for_operators(target, packer.operators)
    return BundleDraft(
        into, asked.reference, task, needing, provenance, plans, packer.graphs, packer.weights, packer.timed
    )


def _merged(graphs: Sequence[StageGraph]) -> tuple[StageGraph, ...]:
    """Variants that came out as one graph run as one group."""
    merged: dict[Any, StageGraph] = {}
    for graph in graphs:
        same = merged.get((graph.key, graph.kept))
        if same:
            regions = None if same.expected is None else same.expected + (graph.expected or 0.0)
            graph = replace(same, select=same.select | graph.select, expected=regions)
        merged[graph.key, graph.kept] = graph
    return tuple(merged.values())


def _used(program: Program, steps: Sequence[Any]) -> tuple[Value, ...]:
    """The program's values that a plan of these steps still knows."""
    stages = [step for step in steps if isinstance(step, Stage)]
    read = {port.value for stage in stages for graph in stage.graphs for port in graph.inputs}
    made = {name for stage in stages for name, _ in stage.otherwise}
    others = [step for step in steps if not isinstance(step, Stage)]
    beside = {name for step in others for name in (*reads(step), *writes(step))}
    used = read | made | beside | {spec.name for spec in program.inputs} | set(program.results)
    return tuple(value for value in program.values if value.name in used)


def _other_sizes(kind: str) -> list[tuple[int, int]]:
    """(height, width) of `OTHER_SIZES` that a plan of this kind is for: square frames count as landscape."""
    if kind != "portrait":
        return list(OTHER_SIZES)
    return [(width, height) for height, width in OTHER_SIZES if width > height]


def _is_free(graph: StageGraph) -> bool:
    """Whether it reads or makes tensors that follow the frame's size."""
    shapes = (port.shape for port in (*graph.inputs, *graph.outputs))
    return any(d in ("height", "width") for shape in shapes for d in shape)
