"""Graphs as TensorRT's parser sees them: their tensors, and the rules of types that ONNX's checker does not have."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
from double_log import say, violation

FLOAT, UINT8, INT32, HALF, DOUBLE = 1, 2, 6, 10, 11
KINDS = {1: (0, 4), 10: (1, 2), 3: (2, 1), 6: (3, 4), 9: (4, 1), 2: (5, 1), 16: (7, 2), 7: (8, 8)}
"""(number of `nvinfer1::DataType`, bytes) by ONNX's number of a type."""
OPSETS = {(10, 0): 20, (10, 6): 22, (10, 15): 24}
"""The newest opset that a parser lists, by the first release that does."""


def tensors_of(model: onnx.ModelProto) -> str:
    """A line per input and output: I or O, name, type, bytes, dimensions with -1 for free ones."""
    constants = {tensor.name for tensor in model.graph.initializer}
    lines = []
    for tag, infos in (("I", model.graph.input), ("O", model.graph.output)):
        for info in infos:
            if info.name in constants:
                continue
            kind, size = KINDS[info.type.tensor_type.elem_type]
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in info.type.tensor_type.shape.dim]
            lines.append(f"{tag}\t{info.name}\t{kind}\t{size}\t{','.join(map(str, dims))}")
    return "\n".join(lines)


def inferred(model: onnx.ModelProto) -> tuple[Mapping[str, int], Mapping[str, list[Any]]]:
    """Types, and shapes with names of free dimensions, of all tensors that are known."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    infos = (*graph.value_info, *graph.output, *graph.input)
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    shapes = {
        info.name: [
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in info.type.tensor_type.shape.dim
        ]
        for info in infos
    }
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    return types, shapes


def check_rules(model: onnx.ModelProto, name: str, release: tuple[int, ...]) -> None:
    """Log every rule of TensorRT's types and opsets that a graph breaks."""
    opset = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    newest = OPSETS[max(first for first in OPSETS if first <= release)]
    if opset > newest:
        violation(f"{name} is of opset {opset}, the parser of {release} lists {newest}")
    types, _ = inferred(model)
    edges = {info.name for info in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        for problem in _problems(node, types, edges):
            violation(f"{name} {node.name}: {problem}")


def _problems(node: onnx.NodeProto, types: Mapping[str, int], edges: set[str]) -> Iterator[str]:
    given = [types.get(name) for name in node.input if name]
    made = [types.get(name) for name in node.output if name]
    if DOUBLE in (*given, *made):
        yield f"{node.op_type} on double"
    if UINT8 not in (*given, *made):
        return
    if node.op_type != "Cast":
        yield f"{node.op_type} on uint8"
    elif given[0] == UINT8 and (made[0] not in (FLOAT, HALF, INT32) or node.input[0] not in edges):
        yield f"Cast of uint8 to {made[0]}, or inside the network"
    elif made[0] == UINT8 and (given[0] not in (FLOAT, HALF) or node.output[0] not in edges):
        yield f"Cast of {given[0]} to uint8, or inside the network"


def walk_plugins(model: onnx.ModelProto) -> Iterator[str]:
    """Take every plugin node through the plugin library that is loaded; gives what is wrong."""
    nodes = [node for node in model.graph.node if node.domain == "edgeflow"]
    if not nodes:
        return
    types, shapes = inferred(model)
    library = ctypes.CDLL(os.environ["DOUBLE_NVINFER"])
    library.double_walk_plugin.restype = ctypes.c_char_p
    for node in nodes:
        if not all(_known(shapes.get(name, [])) for name in node.input):
            say(f"note: {node.name} was not walked, its shapes are not known")
            continue
        spec = "\n".join(_plugin_lines(node, types, shapes))
        said = library.double_walk_plugin(spec.encode()).decode()
        say(f"plugin {said} ({node.name})")
        if said.startswith("ERR"):
            yield said.replace("\n", " ")


def _plugin_lines(
    node: onnx.NodeProto, types: Mapping[str, int], shapes: Mapping[str, list[Any]]
) -> Iterator[str]:
    """A plugin node as the C++ side reads it; its batch is 1."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    yield "\t".join(
        [node.op_type, given.pop("plugin_version").decode(), given.pop("plugin_namespace").decode()]
    )
    for name, value in given.items():
        yield f"F\t{name}\t{','.join(map(str, value if isinstance(value, list) else [value]))}"
    for name in node.input:
        sizes = [size if isinstance(size, int) else 1 for size in shapes[name]]
        yield f"I\t{KINDS[types[name]][0]}\t{','.join(map(str, sizes))}"
    for name in node.output:
        yield f"O\t{KINDS[types[name]][0]}\t"


def _known(shape: list[Any]) -> bool:
    return bool(shape) and all(isinstance(size, int) and size for size in shape[1:])


def with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The graph without the outputs that were unmarked, and without what led to them alone."""
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    outputs = [info for info in kept.graph.output if info.name in names]
    needed, nodes = {info.name for info in outputs}, []
    for node in reversed(kept.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input)
    del kept.graph.output[:], kept.graph.node[:]
    kept.graph.output.extend(outputs)
    kept.graph.node.extend(reversed(nodes))
    return kept
