"""A convolution of an unshuffled picture as one convolution of the picture.

`pixel_unshuffle` by r moves r x r pixels into channels; engine libraries do it as a transposition
in six dimensions, pixel by pixel. A k x k convolution after it is a convolution of the picture with
kernel r k, stride r times and padding r times as large: the same products and sums, so the same FLOPs.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

UNSHUFFLE = [0, 1, 3, 5, 2, 4]
"""How `pixel_unshuffle` permutes (n, c, h, r, w, r)."""


def rewrite(graph: gs.Graph) -> int:
    """Replace every convolution whose input, or all parts of it, were unshuffled by one factor."""
    return sum(_replace(graph, node) for node in graph.nodes if node.op == "Conv")


def _replace(graph: gs.Graph, node: gs.Node) -> bool:
    joined = _maker(node.inputs[0], "Concat")
    parts = joined.inputs if joined is not None and joined.attrs["axis"] == 1 else [node.inputs[0]]
    found = [_unshuffled(part) for part in parts]
    factors = {r for _, r in found if r is not None}
    plain = node.attrs.get("group", 1) == 1 and set(node.attrs.get("dilations", [1])) == {1}
    if not plain or len(factors) != 1 or any(r is None for _, r in found):
        return False
    (r,) = factors
    kernel = node.inputs[1]
    if not isinstance(kernel, gs.Constant) or node.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        return False
    sources = [source for source, _ in found]
    node.inputs[0] = sources[0] if len(sources) == 1 else _concat(graph, node, sources)
    weights = gs.Constant(f"{kernel.name}/unshuffle{r}", _spread(kernel.values, r))
    node.inputs[1] = weights
    rank = weights.values.ndim - 2
    node.attrs["kernel_shape"] = list(weights.values.shape[2:])
    node.attrs["strides"] = [stride * r for stride in node.attrs.get("strides", [1] * rank)]
    node.attrs["pads"] = [pad * r for pad in node.attrs.get("pads", [0] * 2 * rank)]
    return True


def _maker(tensor: gs.Tensor, op: str) -> gs.Node | None:
    """The node of that operator that makes a tensor, if that is what makes it."""
    return tensor.inputs[0] if len(tensor.inputs) == 1 and tensor.inputs[0].op == op else None


def _unshuffled(tensor: gs.Tensor) -> tuple[gs.Tensor, int | None]:
    """The picture that was unshuffled into this tensor and by what factor; None if it was not."""
    last = _maker(tensor, "Reshape")
    turned = _maker(last.inputs[0], "Transpose") if last is not None else None
    first = _maker(turned.inputs[0], "Reshape") if turned is not None else None
    if turned is None or first is None or list(turned.attrs["perm"]) != UNSHUFFLE:
        return tensor, None
    split = turned.inputs[0].shape
    if split is None or len(split) != 6 or split[3] != split[5] or not isinstance(split[3], int):
        return tensor, None
    source: gs.Tensor = first.inputs[0]
    known = source.shape is not None and len(source.shape) == 4 and source.shape[1] == split[1]
    grown = tensor.shape is not None and len(tensor.shape) == 4 and tensor.shape[2:] == [split[2], split[4]]
    return (source, split[3]) if known and grown else (tensor, None)


def _concat(graph: gs.Graph, node: gs.Node, sources: list[gs.Tensor]) -> gs.Variable:
    made = gs.Variable(f"{node.name}/pictures", dtype=np.float32)
    graph.nodes.append(gs.Node("Concat", f"{made.name}_node", {"axis": 1}, sources, [made]))
    return made


def _spread(kernel: NDArray[np.float32], r: int) -> NDArray[np.float32]:
    """(outputs, c r r, k, k) -> (outputs, c, k r, k r)."""
    outputs, channels, high, wide = kernel.shape
    split = kernel.reshape(outputs, channels // (r * r), r, r, high, wide)
    return np.ascontiguousarray(split.transpose(0, 1, 4, 2, 5, 3)).reshape(outputs, -1, high * r, wide * r)
