"""Looks at graphs without their weights: protocol buffers hold 2 GiB at most when they are written.

onnx writes a graph to look at it, and copies all of it to do so; weights it need not see.
"""

from __future__ import annotations

from math import prod
from typing import Any

import onnx

EXTERNAL_BYTES = 1024
"""Smaller tensors stay in the graph file: shape inference reads them there."""

MOST_BYTES = (2 << 30) - (16 << 20)
"""Weights that a graph of 2 GiB holds beside its operators."""


def is_heavy(tensor: onnx.TensorProto) -> bool:
    """Whether its data may lie outside of the graph."""
    size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * prod(tensor.dims)
    return bool(tensor.HasField("raw_data")) and size >= EXTERNAL_BYTES


def without_initialisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of all but the initialisers."""
    made = onnx.ModelProto()
    _copy(model, made, "graph")
    _copy(model.graph, made.graph, "initializer")
    return made


def without_data(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large initialisers have their shapes alone."""
    made = without_initialisers(model)
    for tensor in model.graph.initializer:
        if is_heavy(tensor):
            bare = made.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            bare.data_location = onnx.TensorProto.EXTERNAL
            bare.external_data.add(key="location", value="none")
        else:
            made.graph.initializer.append(tensor)
    return made


def add_tensor(graph: onnx.GraphProto, tensor: onnx.TensorProto, name: str = "") -> None:
    """Add a copy of an initialiser, under another name if that is given; messages are copied by writing them."""
    copy = graph.initializer.add()
    if is_heavy(tensor):
        copy.data_type, copy.raw_data = tensor.data_type, tensor.raw_data
        copy.dims.extend(tensor.dims)
    else:
        copy.CopyFrom(tensor)
    copy.name = name or tensor.name


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the shapes of its tensors, as onnx infers them."""
    made: onnx.ModelProto = onnx.shape_inference.infer_shapes(_light(model), data_prop=True)
    del made.graph.input[len(model.graph.input) :]
    for tensor in filter(is_heavy, model.graph.initializer):
        add_tensor(made.graph, tensor)
    return made


def check(model: onnx.ModelProto) -> None:
    """Have onnx check the graph.

    Raises:
        onnx.checker.ValidationError: it is not sound.
        onnx.shape_inference.InferenceError: its shapes do not fit.
    """
    onnx.checker.check_model(_light(model), full_check=True)


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large initialisers are inputs, after its own."""
    made = without_initialisers(model)
    for tensor in model.graph.initializer:
        if is_heavy(tensor):
            made.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        else:
            made.graph.initializer.append(tensor)
    return made


def _copy(source: Any, target: Any, but: str) -> None:
    """Copy a message's fields, but for one."""
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        else:
            setattr(target, field.name, value)
