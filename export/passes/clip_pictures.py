"""Convolutions of clips that are convolutions of pictures in another shape.

ONNX Runtime has better kernels for pictures: it takes clips as matrix products of all that a filter sees, written out.

- Over frames alone (k, 1, 1): frames are a picture's rows, and a frame's pixels its columns. R(2+1)D's, each alone, are 1.02x to 1.6x as fast, most of them 1.3x or more.
- Of single frames, depthwise (1, k, k): channels and frames lie side by side, so c channels are a picture of c x t channels, with the same filter
  for all frames of a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

_PER_AXIS = ("dilations", "kernel_shape", "strides")


@dataclass(frozen=True)
class _Form:
    """How clips become pictures.

    Attributes:
        shape: of a clip's values (c, t, h, w) as a picture (c, h, w).
        axes: of the clip's three that the filter keeps; both if it keeps the pixels.
        weight: of the filters (o, i, k, k, k), for so many frames.
        repeats: whether filters are repeated for every frame.
    """

    shape: Callable[[list[int]], list[int]]
    axes: tuple[int, ...]
    weight: Callable[[NDArray[np.float32], int], NDArray[np.float32]]
    repeats: bool


_OVER_FRAMES = _Form(
    lambda clip: [*clip[:2], prod(clip[2:])], (0,), lambda weight, frames: weight[..., 0], repeats=False
)
_OF_FRAMES = _Form(
    lambda clip: [clip[0] * clip[1], *clip[2:]],
    (1, 2),
    lambda weight, frames: np.repeat(weight[:, :, 0], frames, 0),
    repeats=True,
)


def rewrite(graph: gs.Graph) -> int:
    """Rewrite every such convolution whose weights are constant and whose sizes are known; returns how many there were."""
    found = [(node, form) for node in graph.nodes if node.op == "Conv" and (form := _form(node))]
    for conv, form in found:
        _flatten(graph, conv, form)
    return len(found)


def _form(conv: gs.Node) -> _Form | None:
    x, weight, *bias = conv.inputs
    (made,) = conv.outputs
    constant = all(isinstance(each, gs.Constant) for each in (weight, *bias))
    known = all(each.shape and all(isinstance(side, int) for side in each.shape[1:]) for each in (x, made))
    if not (constant and known and len(x.shape) == 5 and conv.attrs.get("auto_pad", "NOTSET") == "NOTSET"):
        return None
    kernel, group = weight.values.shape[2:], conv.attrs.get("group", 1)
    if kernel[1:] == (1, 1) and x.shape[3:] == made.shape[3:] and group == 1:
        return _OVER_FRAMES
    depthwise = group == weight.values.shape[0] == x.shape[1]
    return _OF_FRAMES if kernel[0] == 1 and x.shape[2] == made.shape[2] and depthwise else None


def _flatten(graph: gs.Graph, conv: gs.Node, form: _Form) -> None:
    x, weight, *bias = conv.inputs
    frames = x.shape[2]
    last = _activation(conv) or conv
    (made,) = last.outputs
    clip = list(made.shape)
    flat = gs.Variable(f"{made.name}/flat", x.dtype, [x.shape[0], *form.shape(x.shape[1:])])
    picture = gs.Variable(f"{made.name}/picture", made.dtype, [clip[0], *form.shape(clip[1:])])
    _reshape(graph, x, flat)
    conv.inputs = [flat, gs.Constant(f"{made.name}/filters", form.weight(weight.values, frames))]
    if bias:
        values = np.repeat(bias[0].values, frames) if form.repeats else bias[0].values
        conv.inputs.append(gs.Constant(f"{made.name}/bias", values))
    if last is not conv:
        conv.outputs[0].shape = picture.shape
    last.outputs = [picture]
    _reshape(graph, picture, made)
    _turn_attributes(conv, form, frames)


def _turn_attributes(conv: gs.Node, form: _Form, frames: int) -> None:
    """Attributes of a picture's two axes: those that are kept, and a second one over which nothing happens."""
    for name in _PER_AXIS:
        if name in conv.attrs:
            conv.attrs[name] = ([conv.attrs[name][axis] for axis in form.axes] + [1])[:2]
    if "pads" in conv.attrs:
        pads = conv.attrs["pads"]
        before, after = (([side[axis] for axis in form.axes] + [0])[:2] for side in (pads[:3], pads[3:]))
        conv.attrs["pads"] = [*before, *after]
    if form.repeats:
        conv.attrs["group"] *= frames


def _activation(conv: gs.Node) -> gs.Node | None:
    """What the library fuses into the convolution, which therefore stays beside it."""
    (made,) = conv.outputs
    readers = made.outputs
    return readers[0] if len(readers) == 1 and readers[0].op in ("Relu", "Sigmoid", "Tanh") else None


def _reshape(graph: gs.Graph, given: gs.Tensor, made: gs.Tensor) -> None:
    sides = gs.Constant(f"{made.name}/sides", np.array([0, *made.shape[1:]], np.int64))
    graph.nodes.append(gs.Node("Reshape", f"{made.name}/reshape", {}, [given, sides], [made]))
