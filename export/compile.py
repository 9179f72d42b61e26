"""From a routed model to a bundle: trace, plan, lower, link, pack."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import edgeflow
from edgeflow.export.gate import judge
from edgeflow.export.lowering.digest import model_digest
from edgeflow.export.lowering.graph_cache import GraphCache
from edgeflow.export.lowering.graphs import Lowering, Progress
from edgeflow.export.lowering.known_bad import with_other_forms
from edgeflow.export.pack.bundle import Packer, pack_plan
from edgeflow.export.pack.seams import seam_remarks
from edgeflow.export.planning.mix import Mix
from edgeflow.export.planning.planner import Planner
from edgeflow.export.precision.pays import bf16_where_it_pays
from edgeflow.export.precision.rules import at_bf16
from edgeflow.export.precision.typed import at_half
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.export.support import supported
from edgeflow.export.weights import WeightFile
from edgeflow.flow import trace
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.bundle import Bundle, GraphEntry, Manifest
from edgeflow.ir.cache_folder import cache_folder
from edgeflow.ir.costs import save_costs
from edgeflow.ir.errors import BundleError, ExportError
from edgeflow.ir.files import folder_written_whole
from edgeflow.ir.layer_errors import FILE as LAYERS
from edgeflow.ir.layer_errors import LayerError, layers_to_json
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan_routes import dearest_route
from edgeflow.ir.program import Program
from edgeflow.ir.replacing import check_replaceable
from edgeflow.runtime.machine import instruction_sets
from edgeflow.targets import Target


@dataclass(frozen=True)
class Compiled:
    """A bundle that was written, and what was made on the way."""

    path: Path
    manifest: Manifest
    unique_weight_bytes: int
    lowered: int
    resumed: int


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
    overwrite: bool = False,
    compare: bool = True,
    goldens: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> Compiled:
    """Compile a routed model into a bundle.

    Segment graphs are kept in `OUTPUT.partial` until the bundle is whole, so that an
    interrupted export goes on where it stopped. Without their weights they are kept for later exports, in
    `edgeflow.ir.cache_folder.cache_folder("graphs")`.

    Args:
        model: in eval mode; its weights are exported as they are.
        target: what to compile for.
        output: folder of the bundle; if there is one, it is replaced as a whole at the end.
        reference: how to build the model again, for the manifest.
        strategy: `chained`, `routes` or `auto`.
        sizes: (height, width) of frames to fix; if none, frame sizes stay free.
        frames: of a real clip (h, w, 3) uint8, for the goldens, and to calibrate int8 with. `auto` plans for the routes that they take
            and, where the target's engine library is on this machine, times engines; without frames it
            plans for all routes alike by the target's roofline.
        mix: the routes that `auto` plans for, if not those of the frames.
        overwrite: whether a bundle that was built or measured on a device may be replaced.
        compare: refuse what the target's library computes otherwise than the model; see `edgeflow.export.gate`.
        goldens: write what the model makes of samples, and refuse segments that are no functions of their inputs; without it
            nothing can be compared.
        progress: told of every step.

    Raises:
        FlowError: the flow says something that cannot be.
        ExportError: a segment cannot be compiled, or computes something else than the model; or int8 lacks
            frames or its quantiser.
        BundleError: the bundle cannot be written, or would replace what somebody would miss.
    """
    output = Path(output)
    check_replaceable(output, overwrite)
    quantise = _quantiser(frames) if target.precision == "int8" else None
    model = model.eval()
    programs = trace_all(model, sizes)
    partial = output.with_name(f"{output.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"cannot write {output}: {error.strerror}; choose another place") from error
    watch = Stopwatch()
    lowering = Lowering(
        model,
        partial,
        model_digest(model),
        target.rewrites,
        target.deform_conv,
        progress,
        watch,
        cache=GraphCache(cache_folder("graphs")),
    )
    lowering.prepare(programs.values())
    planner = Planner(model, lowering, target, frames, mix)
    lowering.better = planner.faster_form
    with watch.part("plan"):
        drafts = {kind: planner.draft(program, strategy) for kind, program in programs.items()}
    with folder_written_whole(output) as folder, watch.part("write"):
        packer = Packer(folder, watch, goldens)
        plans = {
            kind: pack_plan(packer, planner, programs[kind], drafts[kind], kind, frames) for kind in programs
        }
        with watch.part("compare"):
            remarks = _remarks(model, programs, plans)
        provenance = _provenance(strategy) | {"decisions": planner.decisions, "remarks": remarks}
        _finish(packer, plans, dict(reference), target, provenance, quantise, progress)
        if compare and goldens:
            progress("compare", lowering.total, lowering.total)
            with watch.part("compare"):
                verdict = judge(Bundle(folder, packer.manifest))
        else:
            verdict = {"compared": False, "why": "it was not asked for"}
        packer.note("compared", verdict)
        if planner.costs.ms:
            save_costs(folder, planner.costs, by="export")
    shutil.rmtree(partial, ignore_errors=True)
    made = lowering.total - lowering.resumed
    return Compiled(output, packer.manifest, packer.weights.unique_bytes, made, lowering.resumed)


def _remarks(model: RoutedModule, programs: Mapping[str, Program], plans: Mapping[str, Plan]) -> list[str]:
    """What is to be said of how the model tiles."""
    kind = next(iter(programs))
    return seam_remarks(model, programs[kind], dearest_route(plans[kind], TYPICAL_SIZE))


TYPICAL_SIZE = (720, 1280)
"""(height, width) of frames of free size for which the dearest route is looked for."""


def _finish(
    packer: Packer,
    plans: dict[str, Plan],
    reference: dict[str, Any],
    target: Target,
    provenance: dict[str, Any],
    quantise: Quantise | None,
    progress: Progress,
) -> None:
    """Write the manifest; then bring the graphs, which are fp32, to the target's precision, and write it again."""
    if target.precision == "bf16" and not target.half:
        packer.graphs = at_bf16(packer.graphs, plans)
    packer.finish(plans, reference, target, provenance)
    marked = Bundle(packer.folder, packer.manifest)
    if quantise:
        with packer.watch.part("quantise"):
            packer.graphs, packer.weights, errors = quantise(marked, progress)
        packer.add_text(LAYERS, layers_to_json(errors))
        packer.finish(plans, reference, target, provenance)
    elif target.precision == "bf16" and not target.half:
        with packer.watch.part("bf16"):
            packer.graphs = bf16_where_it_pays(marked, progress)
            _add_bf16_errors(packer)
        packer.finish(plans, reference, target, provenance)
    if target.half:
        typed = at_half(Bundle(packer.folder, packer.manifest), target.half)
        plans, packer.graphs, packer.weights = typed
        packer.finish(plans, reference, target, provenance)
    if target.library == "tensorrt":
        packer.graphs = with_other_forms(packer.folder, packer.graphs)
        packer.finish(plans, reference, target, provenance)
        support = supported(Bundle(packer.folder, packer.manifest), target).to_json()
        packer.finish(plans, reference, target, {**provenance, "support": support})


def _add_bf16_errors(packer: Packer) -> None:
    """What layers lose at bfloat16, where ONNX Runtime is here to find it."""
    with suppress(ImportError):
        from edgeflow.export.precision.layer_errors import bf16_errors

        bundle = Bundle(packer.folder, replace(packer.manifest, graphs=packer.graphs))
        packer.add_text(LAYERS, layers_to_json(bf16_errors(bundle)))


Quantise = Callable[
    [Bundle, Progress], tuple[dict[str, GraphEntry], WeightFile, dict[str, tuple[LayerError, ...]]]
]
"""Quantises an fp32 bundle's graph files: their new entries, their weights, and what their layers lose."""


def _quantiser(frames: Sequence[NDArray[np.uint8]]) -> Quantise:
    """What quantises a bundle with a clip, once it is sure that it can."""
    if not frames:
        raise ExportError(
            "int8 is calibrated with frames of the kind the bundle will see: give a video with --clip"
        )
    try:
        from edgeflow.export.precision.quantise import quantise
    except ImportError as error:
        raise ExportError(f"int8 needs {error.name}: pip install 'edgeflow[onnxruntime]'") from error
    return lambda bundle, progress: quantise(bundle, frames, progress)


def trace_all(model: RoutedModule, sizes: Sequence[tuple[int, int]]) -> dict[str, Program]:
    """One program per kind of frame: `any`, `landscape` and `portrait`, or one per size, given or the model's."""
    if not sizes and model.size:
        sizes = [model.size]
    programs = [trace(model, {"height": h, "width": w}) for h, w in sizes]
    if not programs:
        programs = [trace(model), trace(model, portrait=True)]
    return {program.frame: program for program in programs}


def _provenance(strategy: str) -> dict[str, Any]:
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "plan": strategy,
        "edgeflow": edgeflow.__version__,
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "instructions": list(instruction_sets()),
    }
