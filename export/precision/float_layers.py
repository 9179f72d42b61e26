"""Which layers of an engine lose too much at int8, and stay in float.

Layers are ranked by what quantising each alone does to the engine's outputs. That takes one graph and no further
builds: every tensor that is quantised is there in both forms, and an input per tensor says which one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx
from onnx.helper import make_node, make_tensor_value_info

from edgeflow.export.plugins.bodies import with_bodies
from edgeflow.export.precision.asked import Asked
from edgeflow.export.precision.calibrate import Seen
from edgeflow.export.precision.qdq import (
    Ranged,
    Scheme,
    guest_session,
    layers_of,
    quantised,
    read_by,
    with_neighbours,
)

RANKED_ROWS = 4
"""Regions that layers are ranked by; the gate looks at all that were kept."""

Built = TypeVar("Built")


def worst_first(source: Ranged, seen: Seen, scheme: Scheme, asked: Asked) -> list[str]:
    """All layers of an engine, those first that alone cost most of what is asked of its outputs.

    Args:
        source: the engine's graph in float.
        seen: its inputs, and what it makes of them.
        scheme: what activations become.
        asked: of the outputs.
    """
    switched = _switched(source, scheme)
    session = guest_session(with_bodies(switched.graph).SerializeToString())
    outputs = [port.tensor for port in seen.outputs]
    rows = seen.rows[:RANKED_ROWS]
    names = [port.tensor for port in seen.inputs]

    def alone(layer: str) -> float:
        on = _touched(source.graph, layer, scheme)
        flags = {flag: np.array(tensor in on) for tensor, flag in switched.flags.items()}
        made = [session.run(outputs, {**dict(zip(names, row, strict=True)), **flags}) for row in rows]
        return asked.compare(seen, made).spare_db

    return sorted(layers_of(source.graph), key=alone)


def least_float(order: Sequence[str], attempt: Callable[[Sequence[str]], Built | None]) -> Built | None:
    """The engine with the fewest layers in float that passes, by bisection; none if only all layers would do.

    With no layer in float it is known to fail; what passes is taken to pass with more of them too.

    Args:
        order: all layers, the worst first.
        attempt: builds an engine with these layers in float; none if it is still not good enough.
    """
    fails, passes, best = 0, len(order), None
    while passes - fails > 1:
        middle = (fails + passes) // 2
        built = attempt(order[:middle])
        if built is None:
            fails = middle
        else:
            passes, best = middle, built
    return best


@dataclass(frozen=True)
class _Switched:
    """A graph with an input per tensor that says whether it is read quantised.

    Attributes:
        graph: its other inputs, and its outputs, are the float graph's.
        flags: names of those inputs, by tensor.
    """

    graph: onnx.ModelProto
    flags: dict[str, str]


def _switched(source: Ranged, scheme: Scheme) -> _Switched:
    graph = quantised(
        source,
        layers_of(source.graph),
        scheme,
        AddQDQPairToWeight=True,
        QuantizeBias=False,
        QDQKeepRemovableActivations=True,
    )
    weights = _beside_moved(graph, source.graph)
    makers = {name: node for node in graph.graph.node for name in node.output}
    results = {info.name for info in graph.graph.output}
    flags: dict[str, str] = {}
    nodes = []
    for node in graph.graph.node:
        nodes.append(node)
        if node.op_type == "DequantizeLinear":
            exact, read = makers[node.input[0]].input[0], node.output[0]
            tensor = read if read in results else exact
            flags[tensor] = f"{tensor}/is_quantised"
            node.output[0] = f"{read}/int8"
            whole = weights.get(exact, exact)
            nodes.append(make_node("Where", [flags[tensor], node.output[0], whole], [read]))
    ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.graph.node[:]
    graph.graph.node.extend(ordered)
    graph.graph.input.extend(
        make_tensor_value_info(flag, onnx.TensorProto.BOOL, []) for flag in flags.values()
    )
    return _Switched(graph, flags)


def _beside_moved(graph: onnx.ModelProto, exact: onnx.ModelProto) -> dict[str, str]:
    """Put the exact constants beside those that quantising moved; their names there, by name."""
    names = {}
    for tensor in exact.graph.initializer:
        copy = graph.graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = names[tensor.name] = f"{tensor.name}/exact"
    return names


def _touched(graph: onnx.ModelProto, layer: str, scheme: Scheme) -> set[str]:
    """Tensors that are quantised when this layer is, and no other."""
    nodes = with_neighbours(graph, [layer], scheme)
    weights = {name for node in nodes if node.name == layer for name in node.input[1:2]}
    return weights | {name for node in nodes for name in (*read_by(node), node.output[0])}
