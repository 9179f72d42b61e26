"""From a routed model to a bundle: trace, plan, lower, link, pack."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import edgeflow
from edgeflow.export.auto import Pricing, choose
from edgeflow.export.golden import Arrays, GoldenMaker, golden_clip
from edgeflow.export.kernels import KernelDraft, kernel_of
from edgeflow.export.link import EXACT, link
from edgeflow.export.lower import lower
from edgeflow.export.mix import Mix, of_clip, region_counts, uniform
from edgeflow.export.plan import Link, PlanDraft, StageDraft, Variant, plan
from edgeflow.export.precision import at_bf16
from edgeflow.export.pricing import Pricer
from edgeflow.export.sample import sample_calls
from edgeflow.export.share import share
from edgeflow.export.trials import faster_form
from edgeflow.export.weights import WeightFile
from edgeflow.flow import cost, trace
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.bundle import MANIFEST, WEIGHTS, Bundle, FileEntry, GraphEntry, Manifest, manifest_to_json
from edgeflow.ir.costs import Costs, Device, save_costs
from edgeflow.ir.errors import BackendError, BundleError, ExportError
from edgeflow.ir.files import folder_written_whole, sha256_of, write_atomically
from edgeflow.ir.plan import Plan, Port, Stage, StageGraph
from edgeflow.ir.program import FRAME, Call, Program, Value, reads, writes
from edgeflow.ir.route import Assignment
from edgeflow.runtime.backends import Backend, open_backend
from edgeflow.runtime.device import cpu_name
from edgeflow.targets import Target

GOLDEN_SIZE = (180, 320)
"""(height, width) of golden frames whose size is free; portrait is turned."""

GOLDEN_CALLS = 3
PLANNED_SIZE = (720, 1280)
"""(height, width) of the frames that are planned for if nothing says which will come."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


@dataclass(frozen=True)
class Compiled:
    """A bundle that was written, and what was made on the way."""

    path: Path
    manifest: Manifest
    unique_weight_bytes: int
    lowered: int
    resumed: int


@dataclass
class _Lowering:
    """Lowers segment variants, each once, and keeps them on disk until the export is done."""

    model: RoutedModule
    folder: Path
    digest: str
    rewrites: tuple[str, ...]
    deform_conv: str
    progress: Progress
    total: int = 0
    better: Callable[[Program, Link, onnx.ModelProto], onnx.ModelProto] = lambda program, part, graph: graph
    done: dict[str, onnx.ModelProto] = field(default_factory=dict)
    resumed: int = 0

    def graph(self, program: Program, part: Link) -> onnx.ModelProto:
        """The graph of one link; from memory or disk if it was made before."""
        key = _link_key(program, part, f"{self.rewrites}{self.deform_conv}{self.digest}")
        if key not in self.done:
            file = self.folder / f"{key}.onnx"
            if file.is_file():
                self.done[key] = onnx.load(file)
                self.resumed += 1
            else:
                lowered = lower(self.model, program, part, self.rewrites, self.deform_conv)
                self.done[key] = self.better(program, part, lowered)
                write_atomically(file, self.done[key].SerializeToString())
            self.progress(f"lower {part.call.segment}", len(self.done), self.total)
        return self.done[key]


def compile_model(
    model: RoutedModule,
    target: Target,
    output: str | Path,
    *,
    reference: Mapping[str, Any],
    strategy: str = "auto",
    sizes: Sequence[tuple[int, int]] = (),
    frames: Sequence[NDArray[np.uint8]] = (),
    mix: Mix | None = None,
    deform_conv: str = "native",
    progress: Progress = lambda what, done, total: None,
) -> Compiled:
    """Compile a routed model into a bundle.

    Segment graphs are kept in `OUTPUT.partial` until the bundle is whole, so that an
    interrupted export goes on where it stopped.

    Args:
        model: in eval mode; its weights are exported as they are.
        target: what to compile for.
        output: folder of the bundle; replaced as a whole at the end.
        reference: how to build the model again, for the manifest.
        strategy: `chained`, `routes` or `auto`.
        sizes: (height, width) of frames to fix; if none, frame sizes stay free.
        frames: of a real clip (h, w, 3) uint8, for the goldens, and to calibrate int8 with. `auto` plans for the routes that they take
            and, where the target's engine library is on this machine, times engines; without frames it
            plans for all routes alike by the target's roofline.
        mix: the routes that `auto` plans for, if not those of the frames.
        deform_conv: `native`, or `standard` for an engine library without ONNX's `DeformConv`.
        progress: told of every step.

    Raises:
        FlowError: the flow says something that cannot be.
        ExportError: a segment cannot be compiled, or int8 lacks frames or its quantiser.
        BundleError: the bundle cannot be written.
    """
    output = Path(output)
    quantise = _quantiser(frames) if target.precision == "int8" else None
    model = model.eval()
    programs = trace_all(model, sizes)
    partial = output.with_name(f"{output.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"cannot write {output}: {error.strerror}; choose another place") from error
    lowering = _Lowering(model, partial, _model_digest(model), target.rewrites, deform_conv, progress)
    lowering.total = len(
        {
            _link_key(program, part, "")
            for program in programs.values()
            for draft_stage in plan(program, "chained").stages
            for variant in draft_stage.variants
            for part in variant.links
        }
    )
    planner = _Planner(model, lowering, target, frames, mix)
    lowering.better = planner.faster_form
    drafts = {kind: planner.draft(program, strategy) for kind, program in programs.items()}
    with folder_written_whole(output) as folder:
        packer = _Packer(folder, progress)
        plans = {
            kind: _pack_plan(packer, planner, programs[kind], drafts[kind], kind, frames) for kind in programs
        }
        provenance = _provenance(strategy) | {"deform_conv": deform_conv, "decisions": planner.decisions}
        if target.precision == "bf16":
            packer.graphs = at_bf16(packer.graphs, plans)
        packer.finish(plans, dict(reference), target, provenance)
        if quantise:
            fp32 = Bundle(folder, packer.manifest)
            packer.graphs, packer.weights = quantise(fp32, frames, progress)
            packer.finish(plans, dict(reference), target, provenance)
        manifest = packer.manifest
        if planner.costs.ms and target.precision == "fp32":
            save_costs(folder, planner.costs)
    shutil.rmtree(partial, ignore_errors=True)
    made = lowering.total - lowering.resumed
    return Compiled(output, manifest, packer.weights.unique_bytes, made, lowering.resumed)


@dataclass
class _Planner:
    """Drafts plans and prices their engines; keeps what it decided and what it timed."""

    model: RoutedModule
    lowering: _Lowering
    target: Target
    frames: Sequence[NDArray[np.uint8]]
    expected: Mix | None
    decisions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._backend = self._open_backend() if self.frames else None
        self._pricers: dict[str, Pricer] = {}
        self._ms: dict[str, Mapping[int, float]] = {}

    @property
    def costs(self) -> Costs:
        """What was timed, by the key of the plan's graph."""
        backend = self._backend
        known = (backend.threads, backend.name, backend.version) if backend else (0, "", "")
        return Costs(Device(cpu_name(), *known, self.target.precision), self._ms)

    def draft(self, program: Program, strategy: str) -> PlanDraft:
        """A plan of the program's calls."""
        if strategy != "auto":
            return plan(program, strategy)
        mix = self._mix(program)
        pricer = self._pricer(program)
        starts, decisions = choose(
            program, mix, Pricing(pricer.exact, pricer.bound, pricer.weight_bytes), self.target.weight_budget
        )
        self.decisions[program.frame] = {
            "routes": mix.source,
            "prices": "timed on this machine" if self._backend else "the target's roofline",
            "runs": [decision.to_json(program) for decision in decisions],
        }
        return plan(program, strategy, starts)

    def price(self, program: Program, variant: Variant, graph: StageGraph) -> StageGraph:
        """A graph of the plan with the batch sizes worth running, if its engine was timed."""
        prices = self._pricer(program).timed(variant)
        if not prices:
            return graph
        self._ms[graph.key] = prices
        return replace(graph, batches=tuple(sorted(prices)))

    def faster_form(self, program: Program, part: Link, graph: onnx.ModelProto) -> onnx.ModelProto:
        """A lowered segment in the form that was timed to be the fastest, if engines can be timed."""
        if self._backend is None:
            return graph
        port, values = self._pricer(program).port, dict(part.variant)
        inputs, outputs = (
            [port(n, values) for n in names] for names in (part.call.inputs, part.call.outputs)
        )
        return faster_form(graph, inputs, outputs, self._backend, f"segment {part.call.segment}")

    def kernel(self, program: Program, variant: Variant) -> KernelDraft | None:
        """The kernel to run in place of a graph of the plan, unless it was timed to be slower."""
        return self._pricer(program).kernel(variant)

    def _pricer(self, program: Program) -> Pricer:
        if program.frame not in self._pricers:
            height, width = self._size(program)
            dims = {"height": height, "width": width}

            def port(name: str, values: Mapping[str, Any]) -> Port:
                found = _port(program.value(name), name, dict(values))
                sizes = (dims[d] if isinstance(d, str) else d for d in found.shape)
                return replace(found, shape=tuple(sizes))

            shared = next(iter(self._pricers.values()), None)
            self._pricers[program.frame] = Pricer(
                program,
                self.target,
                lambda part: self.lowering.graph(program, part),
                _call_flops(self.model, program),
                port,
                self._backend,
                lambda links: kernel_of(self.model, links),
                *((shared.known, shared.slower) if shared else ()),
            )
        return self._pricers[program.frame]

    def _mix(self, program: Program) -> Mix:
        if self.expected:
            return self.expected
        if self._suits(program):
            return of_clip(self.model, program, self.frames)
        return uniform(program, region_counts(program, *self._size(program)))

    def _suits(self, program: Program) -> bool:
        """Whether the clip is what the program reads: enough frames, large enough, turned its way."""
        if len(self.frames) < len(program.inputs) or not all(spec.image for spec in program.inputs):
            return False
        height, width = self.frames[0].shape[:2]
        turned = {"landscape": width >= height, "portrait": height > width}.get(program.frame, True)
        sizes = [spec.shape[1:] for spec in program.inputs]
        fixed = [(h, w) for h, w in sizes if isinstance(h, int) and isinstance(w, int)]
        return turned and all(h <= height and w <= width for h, w in fixed)

    def _size(self, program: Program) -> tuple[int, int]:
        """(height, width) to plan for: as given, as the clip's, or 720p."""
        for bound in program.inputs:
            if bound.image and isinstance(bound.shape[1], int) and isinstance(bound.shape[2], int):
                return bound.shape[1], bound.shape[2]
        size = self.frames[0].shape[:2] if self.frames else PLANNED_SIZE
        long, short = max(size), min(size)
        return (long, short) if program.frame == "portrait" else (short, long)

    def _open_backend(self) -> Backend | None:
        try:
            return open_backend(self.target.library)
        except BackendError:
            return None


def _quantiser(frames: Sequence[NDArray[np.uint8]]) -> Any:
    """The function that quantises a bundle, once it is sure that it can."""
    if not frames:
        raise ExportError(
            "int8 is calibrated with frames of the kind the bundle will see: give a video with --clip"
        )
    try:
        from edgeflow.export.quantise import quantise
    except ImportError as error:
        raise ExportError(f"int8 needs {error.name}: pip install 'edgeflow[onnxruntime]'") from error
    return quantise


def trace_all(model: RoutedModule, sizes: Sequence[tuple[int, int]]) -> dict[str, Program]:
    """One program per kind of frame: `any`, `landscape` and `portrait`, or one per size, given or the model's."""
    if not sizes and model.size:
        sizes = [model.size]
    programs = [trace(model, {"height": h, "width": w}) for h, w in sizes]
    if not programs:
        programs = [trace(model), trace(model, portrait=True)]
    return {program.frame: program for program in programs}


@dataclass
class _Packer:
    """Writes graphs, goldens, weights and the manifest into a bundle's folder."""

    folder: Path
    progress: Progress
    weights: WeightFile = field(default_factory=lambda: WeightFile(Path(WEIGHTS).name))
    graphs: dict[str, GraphEntry] = field(default_factory=dict)

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
            placed = self.weights.add_kernel(kernel) if kernel else None
            self.graphs[name] = GraphEntry(file, segments, len(graph.graph.node), moved, kernel=placed)
        return name

    def add_golden(self, graph: StageGraph, make: Callable[[], Arrays]) -> None:
        """Write a graph's golden vectors unless they are there."""
        if not (self.folder / graph.golden).exists():
            self.add_arrays(graph.golden, make())

    def add_arrays(self, file: str, arrays: Arrays) -> None:
        """Write a compressed npz file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        (self.folder / file).write_bytes(buffer.getvalue())

    def finish(
        self, plans: Mapping[str, Plan], reference: dict[str, Any], target: Target, provenance: dict[str, Any]
    ) -> None:
        """Write the weights and the manifest, which names every other file."""
        self.weights.write(self.folder / WEIGHTS)
        inside = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        found = (path for path in inside if path.name != MANIFEST)
        files = {
            path.relative_to(self.folder).as_posix(): FileEntry(path.stat().st_size, sha256_of(path))
            for path in found
        }
        self.manifest = Manifest(reference, plans, self.graphs, target.to_json(), provenance, files)
        text = json.dumps(manifest_to_json(self.manifest), indent=1)
        (self.folder / MANIFEST).write_text(text + "\n")


def _pack_plan(
    packer: _Packer,
    planner: _Planner,
    program: Program,
    draft: PlanDraft,
    kind: str,
    frames: Sequence[NDArray[np.uint8]],
) -> Plan:
    model = planner.model
    flops = _call_flops(model, program)
    size = GOLDEN_SIZE if kind != "portrait" else GOLDEN_SIZE[::-1]
    calls = sample_calls(program.inputs, (size[0], size[1]), GOLDEN_CALLS, frames)
    maker = GoldenMaker(model, program, calls)
    steps: list[Any] = []
    for step in draft.steps:
        if not isinstance(step, StageDraft):
            steps.append(step)
            continue
        graphs = _pack_stage(packer, planner, program, step, flops, maker)
        segments = tuple(call.segment for call in step.calls)
        steps.append(Stage(step.name, step.regions, segments, _merged(graphs), step.otherwise))
    packer.add_arrays(f"golden/clip-{kind}.npz", golden_clip(model, calls))
    read = {port.value for s in steps if isinstance(s, Stage) for g in s.graphs for port in g.inputs}
    made = {name for s in steps if isinstance(s, Stage) for name, _ in s.otherwise}
    others = {name for s in steps if not isinstance(s, Stage) for name in _names(s)}
    used = read | made | others | {spec.name for spec in program.inputs} | set(program.results)
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
        select = same.select | graph.select if same else graph.select
        merged[graph.key, graph.kept] = replace(same or graph, select=select)
    return tuple(merged.values())


def _names(step: Any) -> tuple[str, ...]:
    return (*reads(step), *writes(step))


def _pack_stage(
    packer: _Packer,
    planner: _Planner,
    program: Program,
    stage: StageDraft,
    flops: Mapping[tuple[str, Assignment], int],
    maker: GoldenMaker,
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
    for variant, model in zip(stage.variants, models, strict=True):
        segments = tuple(part.call.segment for part in variant.links)
        name = packer.add_graph(stage.name, model, segments, planner.kernel(program, variant))
        batches = planner.target.batches if stage.regions != FRAME else (1,)
        total = sum(flops[part.call.outputs[0], part.variant] for part in variant.links)
        graph = planner.price(program, variant, _stage_graph(program, variant, name, total, batches))
        packer.add_golden(graph, lambda v=variant: maker.of(v))  # type: ignore[misc]
        made.append(graph)
    return made


def _stage_graph(
    program: Program, variant: Variant, name: str, flops: int, batches: tuple[int, ...]
) -> StageGraph:
    values = dict(variant.variant)
    inputs = tuple(_port(program.value(name), name, values) for name in variant.inputs)
    outputs = tuple(_port(program.value(source), name, values) for name, source in variant.outputs)
    exact = tuple(
        Port(port.value, port.tensor + EXACT, _float_shape(port.shape), "float32")
        for port in outputs
        if port.dtype == "uint8"
    )
    graph = StageGraph(
        variant.select, variant.variant, name, flops, batches, "", inputs, outputs, exact, variant.kept
    )
    return replace(graph, golden=f"golden/{hashlib.sha256(graph.key.encode()).hexdigest()[:16]}.npz")


def _port(value: Value, name: str, route: dict[str, Any]) -> Port:
    shape = value.shape(route)
    if value.image:
        return Port(name, name, (*shape[1:], shape[0]), "uint8")
    return Port(name, name, shape, "float32")


def _float_shape(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return (shape[-1], *shape[:-1])


def _call_flops(model: RoutedModule, program: Program) -> dict[tuple[str, Assignment], int]:
    """FLOPs of one region, by a call's first output and the variant."""
    size = {
        name: dim
        for spec, bound in zip(model.inputs, program.inputs, strict=True)
        for name, dim in zip(spec.shape, bound.shape, strict=True)
        if isinstance(name, str) and isinstance(dim, int)
    }
    calls = [operation for operation in program.operations if isinstance(operation, Call)]
    counted = cost(model, size or None).calls
    return {(calls[entry.call].outputs[0], entry.variant): entry.flops for entry in counted}


def _link_key(program: Program, part: Link, digest: str) -> str:
    """What a lowered segment depends on, as a hash."""
    values = dict(part.variant)
    names = (*part.call.inputs, *part.call.outputs)
    shapes = [(program.value(n).shape(values), program.value(n).image) for n in names]
    free = any(isinstance(d, str) for shape, _ in shapes for d in shape)
    chosen = [(k, values[v]) for k, v in part.call.axes]
    what = (part.call.segment, shapes, part.call.regions == FRAME, chosen, part.call.constants)
    text = repr((what, program.frame if free else "", digest))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _model_digest(model: RoutedModule) -> str:
    """Hash of a model's weights, settings and source, and of the versions that lower it."""
    digest = hashlib.sha256(f"{edgeflow.__version__} {torch.__version__} {onnx.__version__}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for name, module in model.named_modules():
        plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str | tuple)}
        digest.update(f"{name} {type(module).__qualname__} {sorted(plain.items())}".encode())
    for source in sorted({_source(type(module)) for module in model.modules()}):
        digest.update(source.encode())
    return digest.hexdigest()


def _source(module: type) -> str:
    """The file a class comes from; nothing for one typed into an interpreter."""
    try:
        return Path(inspect.getfile(module)).read_text()
    except (OSError, TypeError):
        return ""


def _provenance(strategy: str) -> dict[str, Any]:
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "plan": strategy,
        "edgeflow": edgeflow.__version__,
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
    }
