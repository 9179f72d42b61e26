"""Quantises one graph to int8, by the ranges of what it sees.

The quantiser is ONNX Runtime's: static, as QDQ nodes. Weights are int8, symmetric, per output
channel, so weights that routes share stay equal. On processors activations are uint8: with int8 weights that is
what VNNI multiplies, and scales are such that older processors compute the same (`byte_weights.py`). TensorRT takes int8
without zero points alone, and no quantised bias. (Signed activations made OpenVINO 2026.4 compute some heads wrongly.)
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import MinMaxCalibrater, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

from edgeflow.export.plugins.bodies import with_bodies
from edgeflow.export.precision.byte_weights import fit_weights
from edgeflow.export.precision.calibrate import Array
from edgeflow.ir.errors import BackendError
from edgeflow.ir.libraries import library as described
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.onnxruntime_backend import guest_options
from edgeflow.runtime.backends.onnxruntime_int8 import PAIRS_FIT

Rows = Sequence[tuple[Array, ...]]
"""The inputs of single regions, in a graph's order."""

LAYERS = ("Conv", "Gemm", "MatMul")
BESIDE = ("LeakyRelu", "Relu", "Pad")
"""Operators that are quantised too where they stand next to a quantised layer: it then reads and writes int8."""
MOVING = ("Concat", "DepthToSpace")
"""The same on processors. In graphs of half precision, as TensorRT gets them, ONNX Runtime refuses quantised joins."""


@dataclass(frozen=True)
class Scheme:
    """What activations become.

    Attributes:
        activations: their type.
        options: of ONNX Runtime's quantiser.
        beside: operators that are quantised too where they stand next to a quantised layer.
        judge: engine library that quantised engines are judged with, here and now.
        pairs_fit: sums of two products must fit 16 bits, for processors without VNNI.
    """

    activations: QuantType
    beside: tuple[str, ...]
    options: Mapping[str, bool]
    judge: str
    pairs_fit: bool


def scheme_of(library: str) -> Scheme:
    """What an engine library wants. Engines are judged where they will run, if that can be here.

    Raises:
        BackendError: no such library, or it runs no int8 graphs.
    """
    wanted = described(library).int8
    if wanted is None:
        raise BackendError(
            f"{library} runs no int8 graphs: export with another --precision, or for another target"
        )
    options = {} if wanted.bias else {"QuantizeBias": False}
    if wanted.signed:
        options = {"ActivationSymmetric": True, **options}
    activations = QuantType.QInt8 if wanted.signed else QuantType.QUInt8
    beside = BESIDE + MOVING if wanted.moving else BESIDE
    return Scheme(activations, beside, options, wanted.judge, wanted.pairs_fit)


@dataclass(frozen=True)
class Ranged:
    """A graph in float that can be quantised.

    Attributes:
        graph: with the shapes of its tensors.
        ranges: of its activations.
    """

    graph: onnx.ModelProto
    ranges: TensorsData


def layers_of(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that may be quantised, in order."""
    shapes = {tensor.name: tensor.dims for tensor in graph.graph.initializer}
    layers = [node for node in graph.graph.node if node.op_type in LAYERS and node.input[1] in shapes]
    return [node.name for node in layers if not _of_single_planes(node, shapes[node.input[1]])]


def _of_single_planes(node: onnx.NodeProto, weight: Sequence[int]) -> bool:
    """Whether it filters a picture's planes one by one: that resizes an image, and images stay float."""
    group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return node.op_type == "Conv" and weight[1] == 1 and group == 1


def with_neighbours(graph: onnx.ModelProto, layers: Collection[str], scheme: Scheme) -> list[onnx.NodeProto]:
    """The nodes that are quantised when these layers are."""
    chosen = [node for node in graph.graph.node if node.name in layers]
    read = {node.input[0] for node in chosen}
    made = {name for node in chosen for name in node.output}
    beside = [node for node in graph.graph.node if node.op_type in scheme.beside]
    return chosen + [node for node in beside if made & set(read_by(node)) or node.output[0] in read]


def read_by(node: onnx.NodeProto) -> list[str]:
    """The activations that a node reads which may be quantised."""
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def ranged(graph: onnx.ModelProto, inputs: Sequence[str], rows: Rows) -> Ranged:
    """Run a graph on calibration inputs and note the range of every activation.

    Args:
        graph: in float; it may hold plugin nodes.
        inputs: names of its inputs.
        rows: what they get.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(with_bodies(graph), path)
        calibrater = _Calibrater(
            path, [*LAYERS, *BESIDE, *MOVING], augmented_model_path=f"{folder}/augmented.onnx"
        )
        calibrater.augment_graph()
        calibrater.create_inference_session()
        calibrater.collect_data(_Reader(inputs, rows))
        ranges = calibrater.compute_data()
        onnx.save(graph, path)
        return Ranged(load_model_with_shape_infer(path), ranges)


class _Calibrater(MinMaxCalibrater):  # type: ignore[misc]
    """ONNX Runtime's, with threads as our sessions have them."""

    def create_inference_session(self) -> None:
        self.infer_session = guest_session(self.augmented_model_path)


def guest_session(model: str | bytes) -> ort.InferenceSession:
    """A session on all processors that leaves the process's other sessions as they are; what is quantised it rounds, in float."""
    options = guest_options(len(os.sched_getaffinity(0)))
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # as the graph says, on any processor
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class _Reader:
    """Hands the calibrater one region's inputs after the other."""

    def __init__(self, inputs: Sequence[str], rows: Rows) -> None:
        self._rows: Iterator[dict[str, Array]] = iter(dict(zip(inputs, row, strict=True)) for row in rows)

    def get_next(self) -> dict[str, Array] | None:
        """The next inputs, by name; None at the end."""
        return next(self._rows, None)


def drawn(inputs: Sequence[Port]) -> tuple[Array, ...]:
    """A region's inputs, drawn at random: all dimensions of the ports are known."""
    draw = np.random.default_rng(0)
    shapes = [(1, *map(int, port.shape)) for port in inputs]
    return tuple(
        draw.integers(256, size=shape, dtype=np.uint8)
        if port.dtype == "uint8"
        else draw.standard_normal(shape, np.float32)
        for shape, port in zip(shapes, inputs, strict=True)
    )


def quantised(source: Ranged, layers: Collection[str], scheme: Scheme, **options: bool) -> onnx.ModelProto:
    """The graph with some of its layers quantised; plugin nodes stay what they are.

    Args:
        source: the graph in float.
        layers: names of the nodes to quantise, among `layers_of`.
        scheme: what activations become.
        options: of ONNX Runtime's quantiser, beside the scheme's.
    """
    graph = onnx.ModelProto()
    graph.CopyFrom(source.graph)
    nodes = [node.name for node in with_neighbours(graph, layers, scheme)]
    types = (QuantType.QInt8, scheme.activations)
    every: dict[str, Any] = {**scheme.options, **options}
    if scheme.pairs_fit:
        every["TensorQuantOverrides"] = fit_weights(graph, layers)
    quantiser = QDQQuantizer(
        graph, True, False, *types, source.ranges, nodes, [], [*LAYERS, *scheme.beside], every
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    made: onnx.ModelProto = quantiser.model.model
    del made.graph.value_info[:]
    if scheme.pairs_fit:
        onnx.helper.set_model_props(made, {PAIRS_FIT: "yes"})
    for tensor in made.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.checker.check_model(made, full_check=True)
    return made
