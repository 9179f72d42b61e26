"""Integer-factor `Resize` as a convolution.

Enlarging by r computes each of the r x r output phases by one filter at the input's size,
then interleaves them (`DepthToSpace`). Shrinking by r is one strided convolution. Both are
exact: with half-pixel centres the filter taps are the same at every position, and `Resize`
extends the picture by its edge pixels, as `Pad` does in edge mode.

Source: ONNX operator specification, Resize (cubic and linear, half_pixel).
"""

from __future__ import annotations

from math import floor

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")


def rewrite(graph: gs.Graph) -> int:
    """Replace every integer-factor cubic or linear Resize of a picture's two last dimensions."""
    nodes = [node for node in graph.nodes if node.op == "Resize"]
    return sum(_replace(graph, node) for node in nodes)


def _replace(graph: gs.Graph, node: gs.Node) -> bool:
    factor = _factor(node)
    channels = node.inputs[0].shape[1] if node.inputs[0].shape else None
    if factor is None or not isinstance(channels, int):
        return False
    enlarge = factor > 1
    r = round(factor if enlarge else 1 / factor)
    taps, first = _phases(r, node) if enlarge else _strided(r, node)
    if enlarge:
        kernel = np.einsum("pi,qj->pqij", taps, taps).reshape(r * r, 1, taps.shape[1], taps.shape[1])
        before, after = -first, first + taps.shape[1] - 1
    else:
        kernel = np.einsum("pi,qj->pqij", taps, taps).reshape(1, 1, taps.shape[1], taps.shape[1])
        before, after = -first, max(first + taps.shape[1] - r, 0)
    _build(graph, node, kernel.astype(np.float32), before, after, r, enlarge, channels)
    return True


def _factor(node: gs.Node) -> float | None:
    """The common factor of the two last dimensions, if it is an integer or one over an integer."""
    mode, transform = node.attrs.get("mode"), node.attrs.get("coordinate_transformation_mode", "half_pixel")
    plain = mode in ("cubic", "linear") and transform in HALF_PIXEL
    if not plain or node.attrs.get("antialias") or node.attrs.get("exclude_outside"):
        return None
    scales = _constant(node, 2)
    if scales is None:
        sizes, shape = _constant(node, 3), node.inputs[0].shape
        if sizes is None or shape is None or not all(isinstance(d, int) for d in shape[-2:]):
            return None
        scales = np.array([1, 1, *(sizes[-2:] / np.array(shape[-2:]))])
    if len(scales) != 4 or any(scales[:2] != 1) or scales[2] != scales[3]:
        return None
    factor = float(scales[2])
    whole = factor if factor > 1 else 1 / factor
    if factor == 1 or abs(whole - round(whole)) > 1e-6:
        return None
    if factor < 1:
        shape = node.inputs[0].shape
        if not all(isinstance(d, int) and d % round(whole) == 0 for d in shape[-2:]):
            return None
    return factor


def _constant(node: gs.Node, position: int) -> NDArray[np.generic] | None:
    if len(node.inputs) <= position or not isinstance(node.inputs[position], gs.Constant):
        return None
    values = node.inputs[position].values
    return values if values.size else None


def _weights(fraction: float, node: gs.Node) -> list[float]:
    """Filter weights of the taps around a position: two for linear, four for cubic."""
    if node.attrs["mode"] == "linear":
        return [1 - fraction, fraction]
    a = node.attrs.get("cubic_coeff_a", -0.75)

    def near(x: float) -> float:
        return float(((a + 2) * x - (a + 3)) * x * x + 1)

    def far(x: float) -> float:
        return float(((a * x - 5 * a) * x + 8 * a) * x - 4 * a)

    return [far(1 + fraction), near(fraction), near(1 - fraction), far(2 - fraction)]


def _phases(r: int, node: gs.Node) -> tuple[NDArray[np.float64], int]:
    """(phases, taps) weights for enlarging, and the position of the first tap."""
    reach = 1 if node.attrs["mode"] == "linear" else 2
    taps = np.zeros((r, 2 * reach + 1))
    for phase in range(r):
        position = (phase + 0.5) / r - 0.5
        weights = _weights(position - floor(position), node)
        start = floor(position) - (len(weights) // 2 - 1) + reach
        for i, weight in enumerate(weights):
            taps[phase, min(start + i, 2 * reach)] += weight
    return taps, -reach


def _strided(r: int, node: gs.Node) -> tuple[NDArray[np.float64], int]:
    """(1, taps) weights for shrinking, and the position of the first tap."""
    position = (r - 1) / 2
    weights = np.array(_weights(position - floor(position), node))
    first = floor(position) - (len(weights) // 2 - 1)
    used = np.flatnonzero(weights)
    return weights[None, used[0] : used[-1] + 1], first + int(used[0])


def _build(
    graph: gs.Graph,
    node: gs.Node,
    kernel: NDArray[np.float32],
    before: int,
    after: int,
    r: int,
    enlarge: bool,
    channels: int,
) -> None:
    name, source, target = node.name, node.inputs[0], node.outputs[0]

    def step(op: str, inputs: list[gs.Tensor], attributes: dict[str, object] | None = None) -> gs.Variable:
        made = gs.Variable(f"{name}/polyphase/{len(graph.nodes)}_{op}", dtype=np.float32)
        graph.nodes.append(gs.Node(op, f"{made.name}_node", attributes or {}, inputs, [made]))
        return made

    def integers(label: str, values: list[int]) -> gs.Constant:
        return gs.Constant(f"{name}/polyphase/{label}", np.array(values, np.int64))

    x = step("Reshape", [source, integers("planes", [-1, 1, 0, 0])])
    # A negative amount crops: taps may start inside the picture when it is shrunk by 3 or more.
    first = -before if before < 0 else 0
    if before > 0 or after > 0:
        pads = integers("pads", [0, 0, max(before, 0), max(before, 0), 0, 0, after, after])
        x = step("Pad", [x, pads], {"mode": "edge"})
    if first:
        starts, ends = integers("starts", [first, first]), integers("ends", [2**31, 2**31])
        x = step("Slice", [x, starts, ends, integers("axes", [2, 3])])
    strides = [1, 1] if enlarge else [r, r]
    weights = gs.Constant(f"{name}/polyphase/kernel", kernel)
    x = step("Conv", [x, weights], {"strides": strides, "kernel_shape": list(kernel.shape[2:])})
    if enlarge:
        x = step("DepthToSpace", [x], {"blocksize": r, "mode": "CRD"})
    node.outputs.clear()
    shape = integers("channels", [-1, channels, 0, 0])
    graph.nodes.append(gs.Node("Reshape", f"{name}/polyphase/end", {}, [x, shape], [target]))
