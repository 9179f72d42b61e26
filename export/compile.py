"""From a routed model to a bundle: trace, plan, lower, link, pack."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import edgeflow
from edgeflow.export.bundle_draft import BundleDraft
from edgeflow.export.gate import judge
from edgeflow.export.lowering.digest import model_digest
from edgeflow.export.lowering.graph_cache import GraphCache
from edgeflow.export.lowering.graphs import ChooseForm, Lowering, Progress
from edgeflow.export.pack.bundle import Asked, pack
from edgeflow.export.pack.manifest import complete, write_manifest
from edgeflow.export.pack.seams import seam_remarks
from edgeflow.export.passes import check_passes, passes_of
from edgeflow.export.planning.expected_routes import ExpectedRoutes
from edgeflow.export.planning.forms import timed_forms
from edgeflow.export.planning.planner import Planner, costs_of, open_for_pricing
from edgeflow.export.planning.priced import PricedPlan
from edgeflow.export.precision.steps import precision_steps
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.export.support import supported
from edgeflow.flow import trace
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.bundle import Manifest
from edgeflow.ir.bundle.costs import save_costs
from edgeflow.ir.bundle.replacing import check_replaceable
from edgeflow.ir.bundle.whole_folder import folder_written_whole, locked
from edgeflow.ir.cache_folder import cache_folder
from edgeflow.ir.errors import BundleError, PrecisionError
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.routes import dearest_route
from edgeflow.ir.program import Program
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
    expected: ExpectedRoutes | None = None,
    overwrite: bool = False,
    compare: bool = True,
    goldens: bool = True,
    memory: int | None = None,
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
        expected: the routes that `auto` plans for, if not those of the frames.
        overwrite: whether a bundle that was built or measured on a device may be replaced.
        compare: refuse what the target's library computes otherwise than the model; see `edgeflow.export.gate`.
        goldens: write what the model makes of samples, and refuse segments that are no functions of their inputs; without it
            nothing can be compared.
        memory: bytes that a frame's tensors may take; if they would take more, engines work in bands of rows, or calls become one engine.
            If not given, half of the target's memory, as far as that can be held.
        progress: told of every step.

    Raises:
        FlowError: the flow says something that cannot be.
        ExportError: a segment cannot be compiled, or computes something else than the model; int8 lacks frames or its quantiser; or
            no plan takes as little memory as was asked for.
        BundleError: the bundle cannot be written, or would replace what somebody would miss.
    """
    output = Path(output)
    check_replaceable(output, overwrite)
    check_passes(target.rewrites)
    watch = Stopwatch()
    steps = precision_steps(target, frames, sizes, watch, progress)
    model = model.eval()
    programs = trace_all(model, sizes)
    with _resumable(output) as partial:
        backend = open_for_pricing(target, frames)
        lowering = _lowering(
            model, target, partial, timed_forms(backend, frames) if backend else None, watch, progress
        )
        lowered = lowering.lower(list(programs.values()))
        with watch.part("plan"):
            try:
                planner = Planner(model, lowered, target, frames, expected, backend, watch, memory)
                priced = planner.plans(programs, strategy)
            except PrecisionError:
                backend = None  # this processor lacks what the target has: engines are priced by their work
                planner = Planner(model, lowered, target, frames, expected, None, watch, memory)
                priced = planner.plans(programs, strategy)
        with folder_written_whole(output) as folder, watch.part("write"):
            asked = Asked(reference, frames, goldens, _provenance(strategy))
            draft = pack(folder, model, target, priced, lowered, asked, watch)
            with watch.part("compare"):
                draft = draft.noted("remarks", [*_remarks(model, programs, draft.plans), *_saved(priced)])
            for step in steps:
                draft = step(draft)
            draft = _judged(complete(draft), compare and goldens, watch, progress)
            manifest = write_manifest(draft.noted("seconds", watch.rounded()))
            if backend and draft.timed:
                save_costs(folder, costs_of(backend, target.precision, draft.timed), by="export")
        let_go(output)
    made = lowered.total - lowered.resumed
    return Compiled(output, manifest, draft.weights.unique_bytes, made, lowered.resumed)


def _lowering(
    model: RoutedModule,
    target: Target,
    partial: Path,
    choose_form: ChooseForm | None,
    watch: Stopwatch,
    progress: Progress,
) -> Lowering:
    """What lowers a model's segments for a target, and goes on where an export before left `partial`."""
    return Lowering(
        model,
        partial,
        model_digest(model),
        passes_of(target),
        target.operators,
        progress,
        watch,
        GraphCache(cache_folder("graphs")),
        *((choose_form,) if choose_form else ()),
    )


@contextmanager
def _resumable(output: Path) -> Iterator[Path]:
    """The folder that keeps lowered segments until the bundle is whole, which one process at a time writes.

    Raises:
        BundleError: it cannot be written, or another process writes it.
    """
    partial = _partial_of(output)
    with ExitStack() as held:
        try:
            partial.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(partial, output))
        except OSError as error:
            raise BundleError(f"cannot write {output}: {error.strerror}; choose another place") from error
        yield partial


def _partial_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")


def let_go(output: Path) -> None:
    """Remove the segments that are kept until a bundle is whole; a file that somebody else put there stays, and so does the folder then."""
    partial = _partial_of(output)
    for ours in ("*.onnx", "*.weights", ".*.part"):
        for file in partial.glob(ours):
            file.unlink(missing_ok=True)
    with suppress(OSError):
        partial.rmdir()


def _judged(draft: BundleDraft, compare: bool, watch: Stopwatch, progress: Progress) -> BundleDraft:
    """The draft that says what its target's releases take, and how far it may be trusted."""
    if library(draft.target.library).vetted:
        draft = draft.noted("support", supported(draft.as_bundle(), draft.target).to_json())
    if not compare:
        return draft.noted("compared", {"compared": False, "why": "it was not asked for"})
    progress("compare", len(draft.graphs), len(draft.graphs))
    with watch.part("compare"):
        return draft.noted("compared", judge(draft.as_bundle()))


def _remarks(model: RoutedModule, programs: Mapping[str, Program], plans: Mapping[str, Plan]) -> list[str]:
    """What is to be said of how the model tiles."""
    kind = next(iter(programs))
    return seam_remarks(model, programs[kind], dearest_route(plans[kind], TYPICAL_SIZE))


def _saved(priced: Mapping[str, PricedPlan]) -> list[str]:
    """What is to be said of what was done to save memory."""
    return [plan.saving for plan in priced.values() if plan.saving]


TYPICAL_SIZE = (720, 1280)
"""(height, width) of frames of free size for which the dearest route is looked for."""


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
