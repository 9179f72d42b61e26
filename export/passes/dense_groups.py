"""Convolutions in groups, as dense ones that are zero between groups.

As many times the FLOPs as there are groups, by a library's best kernel: ONNX Runtime takes small groups at int8 one by
one. It pays for some shapes and libraries only.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

LEAST = 8
"""Channels of a group: for fewer, as in depthwise convolutions, libraries have kernels of their own."""


def rewrite(graph: gs.Graph) -> int:
    """Make every convolution dense whose weights are constant, in float or in symmetric int8."""
    convs: defaultdict[int, list[gs.Node]] = defaultdict(list)
    weights: dict[int, gs.Constant] = {}
    for conv in graph.nodes:
        weight = _weight(conv) if conv.op == "Conv" else None
        if weight is not None and conv.attrs.get("group", 1) > 1 and weight.values.shape[1] >= LEAST:
            weights[id(weight)] = weight
            convs[id(weight)].append(conv)
    count = 0
    for key, weight in weights.items():
        groups = {conv.attrs["group"] for conv in convs[key]}
        if len(groups) == 1 and _readers(weight) == len(convs[key]):
            weight.values = _dense(weight.values, *groups)
            for conv in convs[key]:
                conv.attrs["group"] = 1
                if conv.inputs[1] is not weight:  # but dequantised
                    conv.inputs[1].shape = weight.values.shape
            count += len(convs[key])
    return count


def _weight(conv: gs.Node) -> gs.Constant | None:
    """The constant that holds its weights, whether it is read as it is or dequantised."""
    given = conv.inputs[1]
    if given.inputs and given.inputs[0].op == "DequantizeLinear":
        stored, _, *zero = given.inputs[0].inputs
        symmetric = all(isinstance(point, gs.Constant) and not np.any(point.values) for point in zero)
        return stored if isinstance(stored, gs.Constant) and symmetric else None
    return given if isinstance(given, gs.Constant) else None


def _readers(weight: gs.Constant) -> int:
    """How many nodes read it, as it is or dequantised."""
    nodes = [node for node in weight.outputs if node.op != "DequantizeLinear"]
    dequantised = [node for node in weight.outputs if node.op == "DequantizeLinear"]
    return len(nodes) + sum(len(tensor.outputs) for node in dequantised for tensor in node.outputs)


def _dense(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """(o, i, ...) -> (o, groups i, ...)."""
    o, inside, *sides = weight.shape
    dense = np.zeros((o, groups * inside, *sides), weight.dtype)
    for g in range(groups):
        rows = slice(g * o // groups, (g + 1) * o // groups)
        dense[rows, g * inside : (g + 1) * inside] = weight[rows]
    return dense
