"""Convolutions of one tensor that are only added up, as one dense convolution.

HetConv is three such: 3x3 in groups, 1x1 dense, less 1x1 in groups. One dense convolution is the same function
by one kernel instead of five, at more FLOPs: it pays for some shapes and libraries only.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

Terms = list[tuple[int, gs.Node]]
"""Convolutions with their signs."""


def rewrite(graph: gs.Graph) -> int:
    """Replace every sum of two convolutions or more."""
    outputs = {id(tensor) for tensor in graph.outputs}
    sums = [node for node in graph.nodes if node.op in ("Add", "Sub")]
    return sum(_replace(graph, node, outputs) for node in reversed(sums))


def _replace(graph: gs.Graph, node: gs.Node, kept: set[int]) -> bool:
    if not node.outputs:  # part of a sum that was replaced
        return False
    terms = _terms(node, 1, kept)
    if terms is None:
        return False
    (_, first), *others = terms
    same = all(
        other.inputs[0] is first.inputs[0]
        and other.inputs[1].values.shape[0] == first.inputs[1].values.shape[0]
        and other.attrs.get("strides", [1, 1]) == first.attrs.get("strides", [1, 1])
        for _, other in others
    )
    if not same:
        return False
    side = max(max(conv.inputs[1].values.shape[2:]) for _, conv in terms)
    weight = np.sum([sign * _dense(conv, side) for sign, conv in terms], 0, dtype=np.float32)
    bias = np.sum([sign * _bias(conv) for sign, conv in terms], 0, dtype=np.float32)
    name = f"{node.name}/folded"
    operands = [first.inputs[0], gs.Constant(f"{name}/weight", weight), gs.Constant(f"{name}/bias", bias)]
    attributes = {
        "kernel_shape": [side, side],
        "pads": [side // 2] * 4,
        "strides": first.attrs.get("strides", [1, 1]),
    }
    made = gs.Node("Conv", name, attributes, operands, list(node.outputs))
    node.outputs.clear()
    graph.nodes.append(made)
    return True


def _terms(node: gs.Node, sign: int, kept: set[int]) -> Terms | None:
    """The convolutions that a node adds up, if it adds up nothing else."""
    if node.op == "Conv":
        return [(sign, node)] if _foldable(node) else None
    if node.op not in ("Add", "Sub"):
        return None
    found: Terms = []
    for place, tensor in enumerate(node.inputs):
        if len(tensor.inputs) != 1 or len(tensor.outputs) != 1 or id(tensor) in kept:
            return None
        side = -sign if place == 1 and node.op == "Sub" else sign
        below = _terms(tensor.inputs[0], side, kept)
        if below is None:
            return None
        found += below
    return found


def _foldable(conv: gs.Node) -> bool:
    """Constant weights, a square kernel of odd side in the middle of its padding."""
    if not all(isinstance(tensor, gs.Constant) for tensor in conv.inputs[1:]):
        return False
    shape = conv.inputs[1].values.shape
    side = shape[-1]
    return (
        len(shape) == 4
        and shape[2] == side
        and side % 2 == 1
        and list(conv.attrs.get("pads", [0] * 4)) == [side // 2] * 4
        and set(conv.attrs.get("dilations", [1])) == {1}
        and conv.attrs.get("auto_pad", "NOTSET") == "NOTSET"
    )


def _dense(conv: gs.Node, side: int) -> NDArray[np.float32]:
    """Its weight without groups, padded to the side."""
    weight: NDArray[np.float32] = conv.inputs[1].values
    groups = conv.attrs.get("group", 1)
    o, inside, own, _ = weight.shape
    dense = np.zeros((o, groups * inside, side, side), np.float32)
    edge = (side - own) // 2
    for g in range(groups):
        rows = slice(g * o // groups, (g + 1) * o // groups)
        dense[rows, g * inside : (g + 1) * inside, edge : edge + own, edge : edge + own] = weight[rows]
    return dense


def _bias(conv: gs.Node) -> NDArray[np.float32]:
    given = conv.inputs[2].values if len(conv.inputs) > 2 else np.zeros(len(conv.inputs[1].values))
    return np.asarray(given, np.float32)
