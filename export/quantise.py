"""Quantises a bundle's engines to int8, each with the ranges of what it itself sees on a clip.

The quantiser is ONNX Runtime's: static, as QDQ nodes. Weights are int8, symmetric, per output
channel, so weights that routes share stay equal. Activations are uint8: with int8 weights that is
what VNNI multiplies. (Signed activations made OpenVINO 2026.4 compute some heads wrongly, and weights
of 7 bits, which older CPUs want, cost 4 to 5 dB.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import MinMaxCalibrater
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

from edgeflow.export.calibrate import Array, Seen, watch
from edgeflow.export.kernels import KernelDraft
from edgeflow.export.precision import deciding, fp32_note
from edgeflow.export.weights import WeightFile
from edgeflow.ir.bundle import WEIGHTS, Bundle, GraphEntry
from edgeflow.ir.errors import BackendError
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime.backends import Backend, open_backend

MINIMUM_SQNR_DB = 20.0
"""Of each output of an int8 engine against the fp32 one on the calibration inputs, or it stays fp32."""

Rows = Sequence[tuple[Array, ...]]
"""The inputs of single regions, in a graph's order."""

HEAVY = ("Conv", "Gemm", "MatMul")
BESIDE = ("LeakyRelu", "Relu", "Pad")
"""Operators that are quantised too where they stand next to a heavy one: it then reads and writes int8."""


def quantise(
    bundle: Bundle, frames: Sequence[NDArray[np.uint8]], progress: Callable[[str, int, int], None]
) -> tuple[dict[str, GraphEntry], WeightFile]:
    """Replace the graph files of an fp32 bundle by quantised ones, where those are good enough.

    Graphs keep their ids, so that reports of a model's bundles can be laid side by side.

    Args:
        bundle: at fp32; its graph files are written over, its weights and manifest are not.
        frames: of the clip to calibrate with, (h, w, 3) uint8 each.
        progress: told of every graph.

    Returns:
        The new entries of all graphs, and their weights.

    Raises:
        ExportError: the clip does not suit the model.
        BackendError: the target's library is not installed.
    """
    manifest = bundle.manifest
    kept = deciding(manifest.plans)
    total = len(manifest.graphs)
    seen = watch(bundle, frames, set(manifest.graphs) - kept, lambda what: progress(what, 0, total))
    backend = open_backend(manifest.target["library"])  # engines are judged where they will run
    weights = WeightFile(Path(WEIGHTS).name)
    entries: dict[str, GraphEntry] = {}
    for name, entry in manifest.graphs.items():
        path = bundle.path / entry.file
        graph = onnx.load(path)
        if note := fp32_note(entry, name in kept):
            entry = replace(entry, note=note)
        elif name not in seen:
            entry = replace(entry, note="no route of the clip reaches it")
        else:
            rows = [*seen[name].rows, *_at_start(bundle, name, seen[name])]
            graph, entry = _best(graph, entry, seen[name], rows, backend)
        moved = weights.externalise(graph)
        if entry.kernel:
            entry = replace(
                entry,
                kernel=weights.add_kernel(
                    KernelDraft(entry.kernel.name, entry.kernel.read(bundle.path / WEIGHTS))
                ),
            )
        path.write_bytes(graph.SerializeToString(deterministic=True))
        entries[name] = replace(entry, nodes=len(graph.graph.node), weight_bytes=moved)
        progress(f"quantise {name}", len(entries), total)
    return entries, weights


def _best(
    graph: onnx.ModelProto, entry: GraphEntry, seen: Seen, rows: Rows, backend: Backend
) -> tuple[onnx.ModelProto, GraphEntry]:
    """The quantised graph if it passes the gate, else the graph as it was; and the entry that says so."""
    chosen = _quantisable(graph)
    if not chosen:
        return graph, replace(entry, note="has no layer to quantise")
    quantised = _quantised(graph, chosen, [port.tensor for port in seen.inputs], rows)
    try:
        sqnr = _sqnr(quantised, seen, backend)
    except BackendError as error:
        return graph, replace(entry, note=str(error))
    if not sqnr >= MINIMUM_SQNR_DB:
        note = f"int8 would reach {sqnr:.1f} dB of signal to error, {MINIMUM_SQNR_DB:.0f} dB are asked for"
        return graph, replace(entry, sqnr_db=sqnr, note=note)
    note = "calibrated by overruling the model: it takes no region of the clip here" if seen.forced else ""
    return quantised, replace(entry, precision="int8", sqnr_db=sqnr, note=note)


def _at_start(bundle: Bundle, name: str, seen: Seen) -> list[tuple[Array, ...]]:
    """For a graph that reads a state: its golden inputs, where states hold what a stream begins with.

    A clip begins once, so that the regions drawn from it may all be of later frames, whose states
    lie in another range.
    """
    states = {state.name for plan in bundle.manifest.plans.values() for state in plan.states}
    if not states & {port.value for port in seen.inputs}:
        return []
    stages = (stage for plan in bundle.manifest.plans.values() for stage in plan.stages)
    place = next(graph.golden for stage in stages for graph in stage.graphs if graph.graph == name)
    with np.load(bundle.path / place) as golden:
        return [tuple(golden[f"in.{port.value}"].astype(port.dtype) for port in seen.inputs)]


def _quantisable(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes to quantise."""
    shapes = {tensor.name: tensor.dims for tensor in graph.graph.initializer}
    heavy = [node for node in graph.graph.node if node.op_type in HEAVY and node.input[1] in shapes]
    heavy = [node for node in heavy if not _of_single_planes(node, shapes[node.input[1]])]
    read = {node.input[0] for node in heavy}
    made = {name for node in heavy for name in node.output}
    beside = [node for node in graph.graph.node if node.op_type in BESIDE]
    return [node.name for node in heavy] + [
        node.name for node in beside if node.input[0] in made or node.output[0] in read
    ]


def _of_single_planes(node: onnx.NodeProto, weight: Sequence[int]) -> bool:
    """Whether it filters a picture's planes one by one: that resizes an image, and images stay float."""
    group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return node.op_type == "Conv" and weight[1] == 1 and group == 1


class _Calibrater(MinMaxCalibrater):  # type: ignore[misc]
    """ONNX Runtime's, on the thread pool that all sessions of this process share."""

    def create_inference_session(self) -> None:
        options = ort.SessionOptions()
        options.use_per_session_threads = False
        self.infer_session = ort.InferenceSession(
            self.augmented_model_path, options, providers=["CPUExecutionProvider"]
        )


def _quantised(graph: onnx.ModelProto, chosen: list[str], inputs: list[str], rows: Rows) -> onnx.ModelProto:
    operators = [*HEAVY, *BESIDE]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph, path)
        calibrater = _Calibrater(path, operators, augmented_model_path=f"{folder}/augmented.onnx")
        calibrater.augment_graph()
        calibrater.create_inference_session()
        calibrater.collect_data(_Reader(inputs, rows))
        ranges = calibrater.compute_data()
        inferred = load_model_with_shape_infer(path)
    types = (QuantType.QInt8, QuantType.QUInt8)
    quantiser = QDQQuantizer(inferred, True, False, *types, ranges, chosen, [], operators, {})
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    made: onnx.ModelProto = quantiser.model.model
    del made.graph.value_info[:]
    for tensor in made.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.checker.check_model(made, full_check=True)
    return made


class _Reader:
    """Hands the calibrater one region's inputs after the other."""

    def __init__(self, inputs: list[str], rows: Rows) -> None:
        self._rows: Iterator[dict[str, Array]] = iter(dict(zip(inputs, row, strict=True)) for row in rows)

    def get_next(self) -> dict[str, Array] | None:
        """The next inputs, by name; None at the end."""
        return next(self._rows, None)


def _sqnr(graph: onnx.ModelProto, seen: Seen, backend: Backend) -> float:
    """Of the worst output over all calibration inputs, in dB.

    Raises:
        BackendError: the library does not run the graph at int8.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph, path)
        engine = backend.load(path, seen.inputs, seen.outputs, seen.sizes, "int8")
    made = [[np.empty_like(array) for array in wanted] for wanted in seen.wanted]
    for inputs, outputs in zip(seen.rows, made, strict=True):
        engine.run(inputs, outputs)
    columns: Any = zip(zip(*made, strict=True), zip(*seen.wanted, strict=True), strict=True)
    return float(np.min([sqnr_db(zip(ours, theirs, strict=True)) for ours, theirs in columns]))
