"""Writes a plan's graphs, goldens, weights and the manifest into a bundle's folder."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeflow.export.golden import Arrays, GoldenMaker, golden_clip
from edgeflow.export.kernels import KernelDraft
from edgeflow.export.link import EXACT, MEANS, link
from edgeflow.export.plan import PlanDraft, StageDraft, Variant
from edgeflow.export.planner import Planner, call_flops, port_of
from edgeflow.export.plugin_forms import PLUGIN_OPS
from edgeflow.export.sample import sample_calls
from edgeflow.export.share import share
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.export.weights import WeightFile
from edgeflow.ir.bundle import MANIFEST, WEIGHTS, FileEntry, GraphEntry, Manifest, manifest_to_json
from edgeflow.ir.errors import EdgeflowError, ExportError
from edgeflow.ir.files import sha256_of
from edgeflow.ir.golden import sizes_file
from edgeflow.ir.plan import Plan, Port, Stage, StageGraph
from edgeflow.ir.program import FRAME, Program, reads, writes
from edgeflow.ir.route import Assignment
from edgeflow.targets import Target
from edgeflow.targets.plugin_library import SOURCES

GOLDEN_SIZE = (180, 320)
"""(height, width) of golden frames whose size is free; portrait is turned."""

OTHER_SIZES = ((144, 144), (145, 227), (72, 512), (64, 80), (352, 624))
"""(height, width) of golden frames for graphs that read frames of any size: square, odd, wide, small and large."""

GOLDEN_CALLS = 3


@dataclass
class Packer:
    """Writes graphs, goldens, weights and the manifest into a bundle's folder.

    Attributes:
        folder: of the bundle.
        watch: of what is written.
        goldens: whether the bundle gets golden vectors.
        weights: of all graphs.
        graphs: that were written, by their ids.
        checked: variants of segments that were found to be functions of their regions.
    """

    folder: Path
    watch: Stopwatch
    goldens: bool = True
    weights: WeightFile = field(default_factory=lambda: WeightFile(Path(WEIGHTS).name))
    graphs: dict[str, GraphEntry] = field(default_factory=dict)
    checked: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        (self.folder / "graphs").mkdir()
        (self.folder / "golden").mkdir()

    def add_graph(
        self, stage: str, model: onnx.ModelProto, segments: tuple[str, ...], kernel: KernelDraft | None
    ) -> str:
        """Write a graph unless the same one is there; returns its id."""
        graph = onnx.ModelProto()
        graph.CopyFrom(model)
        moved = self.weights.externalise(graph)
        data = graph.SerializeToString(deterministic=True)
        name = f"{stage}-{hashlib.sha256(data).hexdigest()[:12]}"
        if name not in self.graphs:
            file = f"graphs/{name}.onnx"
            (self.folder / file).write_bytes(data)
            types = {node.op_type for node in graph.graph.node}
            plugins = tuple(sorted(types & set(PLUGIN_OPS)))
            placed = self.weights.add_kernel(kernel) if kernel else None
            entry = GraphEntry(file, segments, len(graph.graph.node), moved, plugins=plugins, kernel=placed)
            self.graphs[name] = entry
        return name

    def add_golden(self, graph: StageGraph, make: Callable[[], Arrays]) -> None:
        """Write a graph's golden vectors unless they are there."""
        if self.goldens and not (self.folder / graph.golden).exists():
            with self.watch.part("goldens"):
                self.add_arrays(graph.golden, make())

    def add_golden_sizes(
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
        if not self.goldens or (self.folder / file).exists():
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
        self.add_arrays(file, arrays)

    def add_arrays(self, file: str, arrays: Arrays) -> None:
        """Write a compressed npz file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        (self.folder / file).write_bytes(buffer.getvalue())

    def add_text(self, file: str, text: str) -> None:
        """Write a text file."""
        (self.folder / file).write_text(text)

    def finish(
        self, plans: Mapping[str, Plan], reference: dict[str, Any], target: Target, provenance: dict[str, Any]
    ) -> None:
        """Write the weights and the manifest, which names every other file."""
        provenance = {**provenance, "seconds": {k: round(s, 2) for k, s in self.watch.seconds.items()}}
        self.weights.write(self.folder / WEIGHTS)
        if any(entry.plugins for entry in self.graphs.values()):
            shutil.copytree(SOURCES, self.folder / "plugins", dirs_exist_ok=True)
        inside = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        found = (path for path in inside if path.name != MANIFEST)
        files = {
            path.relative_to(self.folder).as_posix(): FileEntry(path.stat().st_size, sha256_of(path))
            for path in found
        }
        self.manifest = Manifest(reference, plans, self.graphs, target.to_json(), provenance, files)
        self._write_manifest()

    def note(self, key: str, fact: Any) -> None:
        """Add a fact to the manifest's provenance."""
        seconds = {k: round(s, 2) for k, s in self.watch.seconds.items()}
        self.manifest = replace(
            self.manifest, provenance={**self.manifest.provenance, key: fact, "seconds": seconds}
        )
        self._write_manifest()

    def _write_manifest(self) -> None:
        text = json.dumps(manifest_to_json(self.manifest), indent=1)
        (self.folder / MANIFEST).write_text(text + "\n")


def pack_plan(
    packer: Packer,
    planner: Planner,
    program: Program,
    draft: PlanDraft,
    kind: str,
    frames: Sequence[NDArray[np.uint8]],
) -> Plan:
    """Write a drafted plan's graphs and goldens into the bundle; returns the plan that names them."""
    model = planner.model
    flops = call_flops(model, program)
    size = GOLDEN_SIZE if kind != "portrait" else GOLDEN_SIZE[::-1]
    calls = sample_calls(program.inputs, (size[0], size[1]), GOLDEN_CALLS, frames)
    maker = GoldenMaker(model, program, calls, packer.checked)
    others = {
        shape: GoldenMaker(model, program, sample_calls(program.inputs, shape, 2), packer.checked)
        for shape in _other_sizes(kind)
    }
    steps: list[Any] = []
    for step in draft.steps:
        if not isinstance(step, StageDraft):
            steps.append(step)
            continue
        graphs = _pack_stage(packer, planner, program, step, flops, maker, others)
        segments = tuple(call.segment for call in step.calls)
        steps.append(Stage(step.name, step.regions, segments, _merged(graphs), step.otherwise))
    if packer.goldens:
        with packer.watch.part("goldens"):
            packer.add_arrays(f"golden/clip-{kind}.npz", golden_clip(model, calls))
    read = {port.value for s in steps if isinstance(s, Stage) for g in s.graphs for port in g.inputs}
    made = {name for s in steps if isinstance(s, Stage) for name, _ in s.otherwise}
    beside = {name for s in steps if not isinstance(s, Stage) for name in _names(s)}
    used = read | made | beside | {spec.name for spec in program.inputs} | set(program.results)
    values = tuple(value for value in program.values if value.name in used)
    done = Plan(
        draft.strategy,
        program.inputs,
        program.outputs,
        program.results,
        program.states,
        values,
        tuple(steps),
    )
    done.verify()
    return done


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


def _names(step: Any) -> tuple[str, ...]:
    return (*reads(step), *writes(step))


def _pack_stage(
    packer: Packer,
    planner: Planner,
    program: Program,
    stage: StageDraft,
    flops: Mapping[tuple[str, Assignment], int],
    maker: GoldenMaker,
    others: Mapping[tuple[int, int], GoldenMaker],
) -> list[StageGraph]:
    """A stage's graphs: one file for all variants that differ in nothing but shapes."""
    images = {value.name for value in program.values if value.image}
    linked = []
    for variant in stage.variants:
        parts = {part: planner.lowering.graph(program, part) for part in variant.links}
        linked.append(link(variant, parts, images))
    made = []
    # Engines at int8 are calibrated each with its own inputs, so they share nothing but weights.
    models = linked if planner.target.precision == "int8" else share(linked)
    expected = planner.expected_regions(program, stage)
    for variant, model in zip(stage.variants, models, strict=True):
        segments = tuple(part.call.segment for part in variant.links)
        name = packer.add_graph(stage.name, model, segments, planner.kernel(program, variant))
        batches = planner.target.batches if stage.regions != FRAME else (1,)
        total = sum(flops[part.call.outputs[0], part.variant] for part in variant.links)
        graph = planner.price(program, variant, _stage_graph(program, variant, name, total, batches))
        graph = replace(graph, expected=expected.get(variant))
        packer.add_golden(graph, lambda v=variant: maker.of(v))  # type: ignore[misc]
        if _is_free(graph):
            packer.add_golden_sizes(graph.golden, program.frame, variant, others)
        made.append(graph)
    return made


def _other_sizes(kind: str) -> list[tuple[int, int]]:
    """(height, width) of `OTHER_SIZES` that a plan of this kind is for: square frames count as landscape."""
    if kind != "portrait":
        return list(OTHER_SIZES)
    return [(width, height) for height, width in OTHER_SIZES if width > height]


def _is_free(graph: StageGraph) -> bool:
    """Whether it reads or makes tensors that follow the frame's size."""
    shapes = (port.shape for port in (*graph.inputs, *graph.outputs))
    return any(d in ("height", "width") for shape in shapes for d in shape)


def _stage_graph(
    program: Program, variant: Variant, name: str, flops: int, batches: tuple[int, ...]
) -> StageGraph:
    values = dict(variant.variant)
    inputs = tuple(port_of(program.value(name), name, values) for name in variant.inputs)
    outputs = tuple(port_of(program.value(source), name, values) for name, source in variant.outputs)
    exact = tuple(
        Port(port.value, port.tensor + EXACT, _float_shape(port.shape), "float32")
        for port in outputs
        if port.dtype == "uint8"
    )
    means = tuple(replace(port, tensor=f"{port.tensor}{MEANS}", shape=port.shape[-1:], dtype="float32") for port in outputs if port.dtype == "uint8")
    graph = StageGraph(
        variant.select,
        variant.variant,
        name,
        flops,
        batches,
        "",
        inputs,
        outputs,
        exact,
        variant.kept,
        means=means,
    )
    return replace(graph, golden=f"golden/{hashlib.sha256(graph.key.encode()).hexdigest()[:16]}.npz")


def _float_shape(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return (shape[-1], *shape[:-1])
