"""Quantises a bundle's engines to int8, each with the ranges of what it itself sees on a clip.

An engine whose outputs lose too much keeps the layers that cost most in float, as few as will do; one that no such
choice saves stays in float whole, and so does one that is not faster at int8 here, in the target's library. Where whole
frames miss their gate nevertheless, every engine is asked for as much more, until they hold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeflow.export.lowering.trials import faster_form
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.passes import run_passes
from edgeflow.export.plugins.bodies import with_bodies
from edgeflow.export.precision.asked import Asked, Reached
from edgeflow.export.precision.calibrate import Array, Seen, watch
from edgeflow.export.precision.float_layers import least_float, worst_first
from edgeflow.export.precision.int8_frames import missing_db
from edgeflow.export.precision.layer_errors import ROWS, errors_of
from edgeflow.export.precision.pays import int8_gain, note_on
from edgeflow.export.precision.qdq import Ranged, Rows, Scheme, layers_of, quantised, ranged, scheme_of
from edgeflow.export.precision.rules import deciding, fp32_note
from edgeflow.export.weights import WeightFile
from edgeflow.ir.bundle import WEIGHTS, Bundle, GraphEntry
from edgeflow.ir.bundle.layer_errors import LayerError
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import Backend, open_backend
from edgeflow.runtime.stream.loading import sizes_of

LayerErrors: TypeAlias = dict[str, tuple[LayerError, ...]]
"""What the layers of each graph at int8 lose."""

Quantised: TypeAlias = tuple[dict[str, GraphEntry], WeightFile, LayerErrors]
"""Entries of all graphs, their weights, and what the layers of those at int8 lose."""

LEAST_STEP_DB = 1.0
"""By which engines must become better at least, where whole frames miss their gate."""


def quantise(
    bundle: Bundle, frames: Sequence[NDArray[np.uint8]], progress: Callable[[str, int, int], None]
) -> Quantised:
    """Replace the graph files of an fp32 bundle by quantised ones, where those are good enough.

    Graphs keep their ids, so that reports of a model's bundles can be laid side by side.

    Args:
        bundle: at fp32; its graph files are written over, its weights and manifest are not.
        frames: of the clip to calibrate with, (h, w, 3) uint8 each.
        progress: told of every graph.

    Returns:
        The new entries of all graphs, their weights, and what the layers of those at int8 lose.

    Raises:
        ExportError: the clip does not suit the model.
        BackendError: the target's library is not installed.
    """
    total = len(bundle.manifest.graphs)
    graphs = set(bundle.manifest.graphs) - deciding(bundle.manifest.plans)
    seen = watch(bundle, frames, graphs, lambda what: progress(what, 0, total))
    judge = _Judge.of(bundle.manifest.target["library"])
    with TemporaryDirectory(prefix="edgeflow-") as folder:
        path = Path(shutil.copytree(bundle.path, Path(folder) / bundle.path.name))
        while True:
            entries, weights, errors = _at_int8(bundle, path, seen, judge, progress)
            progress("compare whole frames", total, total)
            trial = Bundle(path, replace(bundle.manifest, graphs=entries))
            missing = missing_db(bundle, trial, frames, judge.scheme.judge)
            reached = [entry.sqnr_db or 0.0 for entry in entries.values() if entry.precision == "int8"]
            if missing <= 0 or not reached:
                break
            judge = replace(judge, asked=judge.asked.more(min(reached), max(missing, LEAST_STEP_DB)))
        for entry in entries.values():
            shutil.copyfile(path / entry.file, bundle.path / entry.file)
    return entries, weights, errors


def _at_int8(
    bundle: Bundle,
    into: Path,
    seen: Mapping[str, Seen],
    judge: _Judge,
    progress: Callable[[str, int, int], None],
) -> Quantised:
    """Write the quantised graphs of an fp32 bundle, and their weights, over those of a copy."""
    manifest = bundle.manifest
    kept = deciding(manifest.plans)
    batches = {g.graph: max(g.batches) for p in manifest.plans.values() for s in p.stages for g in s.graphs}
    weights = WeightFile(Path(WEIGHTS).name)
    entries: dict[str, GraphEntry] = {}
    errors: LayerErrors = {}
    for name, entry in manifest.graphs.items():
        graph = onnx.load(bundle.path / entry.file)
        if note := fp32_note(entry, name in kept):
            entry = replace(entry, note=note)
        elif name not in seen:
            entry = replace(entry, note="no route of the clip reaches it")
        elif not layers_of(graph):
            entry = replace(entry, note="has no layer to quantise")
        else:
            rows = [*seen[name].rows, *_golden_rows(bundle, name)]
            graph, entry, found = _engine(name, graph, entry, seen[name], rows, batches[name], judge)
            errors |= {name: found} if found else {}
        graph, moved = weights.externalised(graph)
        if entry.kernel:
            draft = KernelDraft(entry.kernel.name, entry.kernel.read(bundle.path / WEIGHTS))
            entry = replace(entry, kernel=weights.add_kernel(draft))
        (into / entry.file).write_bytes(graph.SerializeToString(deterministic=True))
        entries[name] = replace(entry, nodes=len(graph.graph.node), weight_bytes=moved)
        progress(f"quantise {name}", len(entries), len(manifest.graphs))
    weights.write(into / WEIGHTS)
    return entries, weights, errors


@dataclass(frozen=True)
class _Judge:
    """How engines are quantised, and what judges them.

    Attributes:
        scheme: what activations become.
        backend: an engine library that is here.
        times: it is the target's, so that it says what is faster.
        asked: of every engine.
    """

    scheme: Scheme
    backend: Backend
    times: bool
    asked: Asked

    @staticmethod
    def of(library: str) -> _Judge:
        """For a target's library."""
        scheme = scheme_of(library)
        return _Judge(scheme, open_backend(scheme.judge), scheme.judge == library, Asked())


def _engine(
    name: str,
    graph: onnx.ModelProto,
    entry: GraphEntry,
    seen: Seen,
    rows: Rows,
    batch: int,
    judge: _Judge,
) -> tuple[onnx.ModelProto, GraphEntry, tuple[LayerError, ...]]:
    """The quantised graph, its entry and what its layers lose; the graph as it was, if int8 is wrong or does not pay."""
    inputs = [port.tensor for port in seen.inputs]
    source = ranged(run_passes(graph, ("fold-affine",), name), inputs, rows)
    built, below = _best(source, entry, seen, judge)
    if built is None:
        return graph, below, ()
    made = built.graph
    if judge.times:
        made = _fastest(made, seen, judge.backend, name)
        gain = int8_gain((graph, made), judge.backend, *_sized(seen), batch)
        if note := note_on("int8", gain):
            return graph, replace(entry, sqnr_db=built.reached.sqnr_db, note=note), ()
    return made, below, errors_of(source.graph, built.graph, "int8", inputs, seen.rows[:ROWS])


@dataclass(frozen=True)
class _Built:
    """An engine at int8, what it reached, and its layers that are not quantised."""

    graph: onnx.ModelProto
    reached: Reached
    float_layers: tuple[str, ...]


def _best(source: Ranged, entry: GraphEntry, seen: Seen, judge: _Judge) -> tuple[_Built | None, GraphEntry]:
    """The engine with as few float layers as pass the gate, if one does; and the graph's entry."""
    try:
        whole = _built(source, (), seen, judge)
        passes = whole.reached.spare_db >= 0
        built = whole if passes else _with_float_layers(source, seen, judge)
    except BackendError as error:
        return None, replace(entry, note=str(error))
    missed = f"would reach {whole.reached.words}"
    if built is None:
        return None, replace(entry, sqnr_db=whole.reached.sqnr_db, note=f"int8 {missed}")
    notes = [] if passes else [f"int8 in every layer {missed}"]
    if seen.forced:
        notes.append("calibrated by overruling the model: it takes no region of the clip here")
    return built, replace(
        entry,
        precision="int8",
        sqnr_db=built.reached.sqnr_db,
        float_layers=built.float_layers,
        note="; ".join(notes),
    )


def _fastest(graph: onnx.ModelProto, seen: Seen, backend: Backend, name: str) -> onnx.ModelProto:
    """The quantised graph in the form that was timed to be the fastest; they make the same."""
    return faster_form(graph, *_sized(seen), backend, name, "int8")


def _sized(seen: Seen) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs, all dimensions known."""
    inputs, outputs = (
        [replace(port, shape=sizes_of(port.shape, seen.sizes)) for port in ports]
        for ports in (seen.inputs, seen.outputs)
    )
    return inputs, outputs


def _with_float_layers(source: Ranged, seen: Seen, judge: _Judge) -> _Built | None:
    """An engine that passes the gate with some layers in float; none if only all of them would do."""

    def attempt(kept: Sequence[str]) -> _Built | None:
        try:
            built = _built(source, kept, seen, judge)
        except BackendError:  # no layer is left that the library runs at int8
            return None
        return built if built.reached.spare_db >= 0 else None

    return least_float(worst_first(source, seen, judge.scheme, judge.asked), attempt)


def _built(source: Ranged, kept: Collection[str], seen: Seen, judge: _Judge) -> _Built:
    """An engine with all layers but some quantised.

    Raises:
        BackendError: the library does not run the graph at int8.
    """
    layers = layers_of(source.graph)
    graph = quantised(source, [layer for layer in layers if layer not in kept], judge.scheme)
    reached = judge.asked.compare(seen, _outputs(graph, seen, judge.backend))
    return _Built(graph, reached, tuple(layer for layer in layers if layer in kept))


def _golden_rows(bundle: Bundle, name: str) -> list[tuple[Array, ...]]:
    """A graph's golden inputs, whose ranges count as well.

    They are of any region, not of those alone that the model sends here: other policies send others, and later frames may.
    They hold what a stream's states begin with. And they are what engines are compared with, here and on other processors.
    """
    stages = (stage for plan in bundle.manifest.plans.values() for stage in plan.stages)
    graphs = {graph.golden: graph for stage in stages for graph in stage.graphs if graph.graph == name}
    rows = []
    for place, graph in graphs.items():
        with np.load(bundle.path / place) as golden:
            rows.append(tuple(golden[f"in.{port.value}"].astype(port.dtype) for port in graph.inputs))
    return rows


def _outputs(graph: onnx.ModelProto, seen: Seen, backend: Backend) -> list[list[Array]]:
    """What an engine makes of all calibration inputs.

    Raises:
        BackendError: the library does not run the graph at int8.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(with_bodies(graph), path)
        engine = backend.load(path, seen.inputs, seen.outputs, seen.sizes, "int8")
    made = [[np.empty_like(array) for array in wanted] for wanted in seen.wanted]
    for inputs, outputs in zip(seen.rows, made, strict=True):
        engine.run(inputs, outputs)
    return made
