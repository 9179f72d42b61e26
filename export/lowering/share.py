"""Graphs that differ in nothing but shapes become one.

A group of residual blocks at three scales has the same operators and weights; in one graph with free
dimensions an engine library holds its weights once.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from edgeflow.export.heavy import add_tensor, check, without_initialisers


def share(models: Sequence[onnx.ModelProto]) -> list[onnx.ModelProto]:
    """For each model the one that stands for it: itself, or one for all that differ in shapes alone.

    Args:
        models: variants of one stage, as linked; equal weights have equal names.
    """
    alike: dict[bytes, list[onnx.ModelProto]] = {}
    for model in models:
        alike.setdefault(_body(model), []).append(model)
    common = {body: _with_free_dimensions(group) for body, group in alike.items()}
    return [common[_body(model)] for model in models]


def _body(model: onnx.ModelProto) -> bytes:
    """Everything but the shapes of inputs and outputs; weights by their names, which name their content."""
    bare = without_initialisers(model)
    for info in (*bare.graph.input, *bare.graph.output):
        for dimension in info.type.tensor_type.shape.dim:
            dimension.Clear()
    names = "\n".join(tensor.name for tensor in model.graph.initializer)
    return bytes(bare.SerializeToString(deterministic=True)) + names.encode()


def _with_free_dimensions(group: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """The first of the group, with a symbol for every dimension in which they differ."""
    made = without_initialisers(group[0])
    for tensor in group[0].graph.initializer:
        add_tensor(made.graph, tensor)
    symbols: dict[tuple[str, ...], str] = {}
    for infos in zip(*(_interface(model) for model in (made, *group)), strict=True):
        shapes = [info.type.tensor_type.shape.dim for info in infos]
        for own, *others in zip(*shapes, strict=True):
            values = tuple(other.dim_param or str(other.dim_value) for other in others)
            if len(set(values)) > 1:
                own.dim_param = symbols.setdefault(values, f"size{len(symbols)}")
    if symbols:
        check(made)
    return made


def _interface(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.output]
