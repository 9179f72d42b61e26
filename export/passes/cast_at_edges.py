"""Lets 8-bit images be cast as soon as they come in and only as they leave.

TensorRT knows uint8 at a network's inputs and outputs alone, next to a cast: a transposition of uint8, which the
conversion between picture and planes begins and ends with, it refuses. Moving values about and casting
them commute, so the order is free.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

MOVES = ("Transpose", "Reshape", "Slice", "Squeeze", "Unsqueeze", "Identity")
"""Operators that move values and do not look at them."""


def rewrite(graph: gs.Graph) -> int:
    """Swap moves of uint8 with the casts beside them; returns how many operators left uint8 alone."""
    swapped = 0
    while places := [node for node in graph.nodes if _moves_bytes(node)]:
        before = swapped
        for node in places:
            swapped += _cast_before(graph, node) or _cast_after(graph, node)
        if swapped == before:
            break
    return swapped + sum(_measure_cast(node) for node in graph.nodes)


def _moves_bytes(node: gs.Node) -> bool:
    return node.op in MOVES and node.outputs[0].dtype == np.uint8


def _measure_cast(node: gs.Node) -> int:
    """The shape of bytes is that of their cast, where there is one."""
    if node.op != "Shape" or node.inputs[0].dtype != np.uint8:
        return 0
    casts = [reader for reader in node.inputs[0].outputs if reader.op == "Cast"]
    if casts:
        node.inputs[0] = casts[0].outputs[0]
    return len(casts[:1])


def _cast_before(graph: gs.Graph, node: gs.Node) -> int:
    """Move, then cast to float: cast first. Every reader of the moved bytes is such a cast."""
    made = node.outputs[0]
    casts = list(made.outputs)
    if not casts or any(cast.op != "Cast" or cast.outputs[0].dtype == np.uint8 for cast in casts):
        return 0
    source = node.inputs[0]
    for cast in casts:
        result = cast.outputs[0]
        early = gs.Variable(f"{result.name}/early", result.dtype, source.shape)
        move = gs.Node(node.op, f"{node.name}/{cast.name}", dict(node.attrs), [early, *node.inputs[1:]])
        cast.outputs.clear()
        cast.inputs[0], cast.outputs = source, [early]
        move.outputs = [result]
        graph.nodes.append(move)
    return 1


def _cast_after(graph: gs.Graph, node: gs.Node) -> int:
    """Cast to bytes, then move: move first. Nothing else reads the cast's bytes."""
    source = node.inputs[0]
    if len(source.inputs) != 1 or source.inputs[0].op != "Cast" or len(source.outputs) != 1:
        return 0
    if any(source is output for output in graph.outputs):
        return 0
    cast, result = source.inputs[0], node.outputs[0]
    values = cast.inputs[0]
    late = gs.Variable(f"{result.name}/late", values.dtype, result.shape)
    cast.outputs.clear()
    node.outputs.clear()
    node.inputs[0], node.outputs = values, [late]
    cast.inputs[0], cast.outputs = late, [result]
    return 1
