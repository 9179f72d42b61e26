"""Scales and shifts per channel, as part of the convolution that they stand after or whose weight they scale.

Lengths of a clip differ in nothing else, so in float they stay apart, that weights are stored once; libraries fold them as
they load an engine. Quantised, nothing may stand between a convolution and what it is rounded to.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray


def rewrite(graph: gs.Graph) -> int:
    """Fold every scaled weight, and every scale and shift after a convolution."""
    outputs = {id(tensor) for tensor in graph.outputs}
    folded = sum(_scaled_weight(node) for node in graph.nodes if node.op == "Mul")
    for conv in [node for node in graph.nodes if node.op == "Conv"]:
        while id(conv.outputs[0]) not in outputs and _into(conv):
            folded += 1
    return folded


def _scaled_weight(node: gs.Node) -> bool:
    """Make one constant of the product of two that convolutions read as a weight."""
    users = node.outputs[0].outputs
    convs = users and all(user.op == "Conv" and user.inputs[1] is node.outputs[0] for user in users)
    if not convs or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs):
        return False
    product = node.inputs[0].values * node.inputs[1].values
    weight = gs.Constant(f"{node.name}/product", product)
    for user in list(users):
        user.inputs[1] = weight
    node.outputs.clear()
    return True


def _into(conv: gs.Node) -> bool:
    """Fold what alone reads a convolution's output, if it scales or shifts channels."""
    made = conv.outputs[0]
    if len(made.outputs) != 1 or not all(isinstance(tensor, gs.Constant) for tensor in conv.inputs[1:]):
        return False
    (node,) = made.outputs
    if node.op not in ("Mul", "Add"):
        return False
    others = [tensor for tensor in node.inputs if tensor is not made]
    channels = len(conv.inputs[1].values)
    if len(others) != 1 or not isinstance(others[0], gs.Constant):
        return False
    numbers = _per_channel(others[0].values, channels, conv.inputs[1].values.ndim)
    if numbers is None:
        return False
    weight = conv.inputs[1].values
    bias = conv.inputs[2].values if len(conv.inputs) > 2 else np.zeros(channels, weight.dtype)
    if node.op == "Mul":
        weight, bias = weight * numbers.reshape(-1, *[1] * (weight.ndim - 1)), bias * numbers
    else:
        bias = bias + numbers
    conv.inputs = [
        conv.inputs[0],
        gs.Constant(f"{node.name}/weight", weight),
        gs.Constant(f"{node.name}/bias", bias),
    ]
    made_now = list(node.outputs)
    node.outputs.clear()
    conv.outputs = made_now
    return True


def _per_channel(values: NDArray[np.float32], channels: int, rank: int) -> NDArray[np.float32] | None:
    """One number per channel of what a convolution makes, if a constant is no more than that."""
    shape = (1,) * (rank - values.ndim) + values.shape
    if len(shape) != rank or values.size not in (1, channels) or shape[1] != values.size:
        return None
    made: NDArray[np.float32] = np.broadcast_to(values.ravel(), (channels,)).copy()
    return made
