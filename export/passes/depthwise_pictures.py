"""Depthwise convolutions of single frames of a clip, as ones of pictures.

ONNX Runtime has a kernel for depthwise convolutions of pictures, and takes clips channel by channel as matrix products. Channels and frames
lie side by side, so a filter of one frame for c channels is one of a picture of c x t channels, with the same filter for all frames.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs


def rewrite(graph: gs.Graph) -> int:
    """Rewrite every such convolution whose weights are constant and whose sizes are known; returns how many there were."""
    found = [node for node in graph.nodes if node.op == "Conv" and _fits(node)]
    for conv in found:
        _flatten(graph, conv)
    return len(found)


def _fits(conv: gs.Node) -> bool:
    x, weight, *bias = conv.inputs
    (made,) = conv.outputs
    if any(not isinstance(each, gs.Constant) for each in (weight, *bias)):
        return False
    known = all(each.shape and all(isinstance(side, int) for side in each.shape[1:]) for each in (x, made))
    filters = weight.values.shape
    depthwise = len(filters) == 5 and filters[1:3] == (1, 1) and conv.attrs.get("group", 1) == filters[0]
    frames = known and depthwise and x.shape[1] == filters[0] and x.shape[2] == made.shape[2]
    return bool(frames) and conv.attrs.get("auto_pad", "NOTSET") == "NOTSET"


def _flatten(graph: gs.Graph, conv: gs.Node) -> None:
    x, weight, *bias = conv.inputs
    (made,) = conv.outputs
    channels, frames = x.shape[1:3]
    wide = [x.shape[0], channels * frames, *x.shape[3:]]
    flat = gs.Variable(f"{made.name}/frames", x.dtype, wide)
    pictures = gs.Variable(f"{made.name}/pictures", made.dtype, [*wide[:2], *made.shape[3:]])
    _reshape(graph, x, flat, [0, channels * frames, *x.shape[3:]])
    _reshape(graph, pictures, made, [0, channels, frames, *made.shape[3:]])
    filters = np.repeat(weight.values[:, :, 0], frames, 0)
    conv.inputs = [flat, gs.Constant(f"{made.name}/filters", filters)]
    if bias:
        conv.inputs.append(gs.Constant(f"{made.name}/bias", np.repeat(bias[0].values, frames)))
    conv.outputs = [pictures]
    conv.attrs["group"] = channels * frames
    for name in ("dilations", "kernel_shape", "strides"):
        if name in conv.attrs:
            conv.attrs[name] = conv.attrs[name][1:]
    if "pads" in conv.attrs:
        before, after = conv.attrs["pads"][1:3], conv.attrs["pads"][4:]
        conv.attrs["pads"] = [*before, *after]


def _reshape(graph: gs.Graph, given: gs.Tensor, made: gs.Tensor, shape: list[int]) -> None:
    sides = gs.Constant(f"{made.name}/sides", np.array(shape, np.int64))
    graph.nodes.append(gs.Node("Reshape", f"{made.name}/reshape", {}, [given, sides], [made]))
