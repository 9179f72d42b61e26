"""The most bytes that a graph's tensors take at one time, from its shapes and the order of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import onnx
from onnx import helper

from edgeflow.export.elementwise import ELEMENTWISE
from edgeflow.export.plugins.bodies import with_bodies

VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"))
"""Operators whose output is their input's memory."""


@dataclass(frozen=True)
class Activations:
    """What lies between the first and the last layer of a graph.

    Attributes:
        bytes: the most at one time, without inputs, outputs and weights.
        at: name of the node that runs then; empty for a graph without nodes.
        unknown: tensors whose shape is not known before the graph runs; they are not counted.
        held: bytes of each tensor that lies there then.
    """

    bytes: int
    at: str
    unknown: tuple[str, ...]
    held: Mapping[str, int] = field(default_factory=dict)


def activations(path: Path, shapes: Mapping[str, Sequence[int]]) -> Activations:
    """Count what a graph file holds while it runs.

    Nodes run in the file's order, each has its inputs and outputs at once, and a tensor goes after its last reader. What an engine
    needs beside that (other layouts, unrolled convolutions) is not in it, and neither is what it saves by fusing layers.

    Args:
        path: of the ONNX file; its weights are not read.
        shapes: of its inputs, by name, with every dimension known.
    """
    return counted(inferred(onnx.load(path, load_external_data=False), shapes))


def counted(graph: onnx.GraphProto) -> Activations:
    """`activations` of a graph whose shapes were inferred."""
    sizes = {info.name: _bytes(info.type.tensor_type) for info in (*graph.value_info, *graph.output)}
    outside = {info.name for info in (*graph.input, *graph.output)}
    outside |= {tensor.name for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    outside |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    last = {name: number for number, node in enumerate(nodes) for name in node.input}
    unknown = tuple(
        name
        for node in nodes
        for name in node.output
        if name and name not in outside and sizes.get(name) is None
    )
    held: dict[str, int] = {}
    memory_of: dict[str, str] = {}
    readers: dict[str, int] = {}
    most, at, fullest = 0, "", {}
    for number, node in enumerate(nodes):
        for name in node.output:
            if name and name not in outside:
                place = _place(node, name, number, sizes, memory_of, last, readers)
                memory_of[name] = place
                readers[place] = max(readers.get(place, 0), last.get(name, number))
                held.setdefault(place, sizes.get(name) or 0)
        if (now := sum(held.values())) > most:
            most, at, fullest = now, node.name, dict(held)
        for place in [place for place in held if readers[place] <= number]:
            del held[place]
    return Activations(most, at, unknown, fullest)


def _place(
    node: onnx.NodeProto,
    output: str,
    number: int,
    sizes: Mapping[str, int | None],
    memory_of: Mapping[str, str],
    last: Mapping[str, int],
    readers: Mapping[str, int],
) -> str:
    """The tensor in whose memory an output lies: an input's, or its own."""
    for name in node.input:
        place = memory_of.get(name)
        if place is None:
            continue
        if node.op_type in VIEWS:
            return place
        if node.op_type in ELEMENTWISE and readers[place] == number and sizes.get(name) == sizes.get(output):
            return place
    return output


def inferred(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.GraphProto:
    """The graph with the shape of every tensor that can be known.

    Args:
        model: changed on the way; its weights may be missing.
        shapes: of its inputs, by name, with every dimension known.
    """
    del model.graph.value_info[:]
    for given in model.graph.input:
        dims = given.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes[given.name], strict=True):
            dim.dim_value = size
    for made in model.graph.output:
        made.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(with_bodies(model), data_prop=True).graph


def _bytes(tensor: onnx.TypeProto.Tensor) -> int | None:
    if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    elements: int = prod(dim.dim_value for dim in tensor.shape.dim)
    return elements * int(helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
