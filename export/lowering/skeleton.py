"""A segment's ONNX graph without its weights, and the same graph with them.

The exporter is given blank weights, so nothing that it makes can depend on their values, and whatever folds
constants runs after the real ones are filled in. So one skeleton serves every segment of one fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir
import torch
from onnx_ir.tensor_adapters import TorchTensor

from edgeflow.export.lowering.fingerprint import weight, weight_names

Table = dict[Callable[..., Any], Callable[..., Any]]


def skeleton(
    program: torch.export.ExportedProgram,
    inputs: Sequence[str],
    axes: Sequence[Mapping[int, str]],
    outputs: Sequence[str],
    table: Table,
    opset: int,
) -> bytes:
    """The graph that torch.onnx makes of a captured segment, its weights as inputs after its own.

    The program is left with blank weights, and is good for nothing else then.

    Args:
        program: as captured.
        inputs: names of its inputs in the graph.
        axes: per input the names of its symbolic dimensions.
        outputs: names of its outputs.
        table: custom translations.
        opset: to export at.
    """
    weights = weight_names(program)
    for name in weights:
        _blank(program, name)
    made = torch.onnx.export(
        program,
        (),
        dynamo=True,
        opset_version=opset,
        input_names=list(inputs),
        output_names=list(outputs),
        custom_translation_table=table,
        verbose=False,
        optimize=False,
    )
    assert made is not None
    graph = made.model.graph
    made.rename_axes(_axis_names(graph.inputs, axes))
    _own_outputs(graph)
    for value, name in (*zip(graph.inputs, inputs, strict=False), *zip(graph.outputs, outputs, strict=True)):
        value.name = name
    for name in weights:
        if name in graph.initializers:
            value = graph.initializers.pop(name)
            value.const_value = None
            graph.inputs.append(value)
    return bytes(onnx_ir.to_proto(made.model).SerializeToString())


def filled(bare: bytes, inputs: int, weights: dict[str, torch.Tensor]) -> onnx.ModelProto:
    """The graph of a skeleton with its weights in place, optimised.

    Args:
        bare: a skeleton.
        inputs: how many inputs of its own it has.
        weights: by name.
    """
    model = onnx_ir.from_proto(onnx.ModelProto.FromString(bare))
    for value in list(model.graph.inputs)[inputs:]:
        model.graph.inputs.remove(value)
        assert value.name is not None
        tensor = TorchTensor(weights[value.name], name=value.name)
        if tensor.shape != value.shape or tensor.dtype != value.dtype:
            raise ValueError(f"the weight {value.name} is {tensor.dtype}{tensor.shape}")
        value.const_value = tensor
        model.graph.register_initializer(value)
    program = torch.onnx.ONNXProgram(model, None)
    program.optimize()
    return program.model_proto


def _own_outputs(graph: onnx_ir.Graph) -> None:
    """Make every output a value of its own, so that it can have its own name.

    It is not where a segment hands on what it was given, or one value twice.
    """
    for index, value in enumerate(graph.outputs):
        if value.is_graph_input() or any(value is other for other in list(graph.outputs)[:index]):
            copied = onnx_ir.node("Identity", [value])
            copied.outputs[0].type, copied.outputs[0].shape = value.type, value.shape
            graph.append(copied)
            graph.outputs[index] = copied.outputs[0]


def _axis_names(
    inputs: Sequence[onnx_ir.Value], axes: Sequence[Mapping[int, str]]
) -> dict[str | onnx_ir.SymbolicDim, str]:
    """By the exporter's own symbols, the names that are wanted; a symbol of several axes takes the first's."""
    found: dict[str | onnx_ir.SymbolicDim, str] = {}
    for value, names in zip(inputs, axes, strict=True):
        for axis, name in names.items():
            size = value.shape[axis] if value.shape is not None else None
            if isinstance(size, onnx_ir.SymbolicDim):
                found.setdefault(str(size), name)
    return found


def _blank(program: torch.export.ExportedProgram, name: str) -> None:
    real = weight(program, name)
    held = program.state_dict if name in program.state_dict else program.constants
    blank = torch.zeros_like(real)
    held[name] = (
        torch.nn.Parameter(blank, real.requires_grad) if isinstance(real, torch.nn.Parameter) else blank
    )
