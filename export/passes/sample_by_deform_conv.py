"""Bilinear `GridSample` as a deformable convolution of one tap.

ONNX Runtime samples plane by plane, a thread for each, and finds a pixel's four neighbours anew in every plane. Its `DeformConv` finds them
once for all planes, and shares pixels out among threads. A deformable convolution of one tap whose weight is the identity reads the picture
where its offset points, and zero outside of it: where borders are to be repeated, places are clipped to the picture.

Source: ONNX operator specification, GridSample-16 and DeformConv-19.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

MOST_CHANNELS = 64
"""The most channels of a picture: the identity's product grows with their square."""
MODES = ("bilinear", "linear")
PADDINGS = ("border", "zeros")


def rewrite(graph: gs.Graph) -> int:
    """Replace every bilinear GridSample of a picture of few channels."""
    return sum(_replace(graph, node) for node in list(graph.nodes) if node.op == "GridSample")


def _replace(graph: gs.Graph, node: gs.Node) -> bool:
    picture, grid = node.inputs
    shape = picture.shape
    plain = (
        node.attrs.get("mode", "bilinear") in MODES and node.attrs.get("padding_mode", "zeros") in PADDINGS
    )
    if not plain or shape is None or len(shape) != 4 or not isinstance(shape[1], int):
        return False
    stacked = _stacked(grid)
    if shape[1] > MOST_CHANNELS or not _as_large(shape[2:], grid, stacked):
        return False
    build = _Builder(graph, node.name)
    across, down = _planes(build, grid, stacked)
    offsets = [_offset(build, node, picture, plane, axis) for axis, plane in ((2, down), (3, across))]
    weight = build.constant("identity", np.eye(shape[1], dtype=np.float32)[..., None, None])
    (made,) = node.outputs
    node.outputs.clear()
    offset = build.step("Concat", offsets, axis=1)
    graph.nodes.append(
        gs.Node(
            "DeformConv",
            f"{node.name}/deform",
            {"kernel_shape": [1, 1]},
            [picture, weight, offset],
            [made],
        )
    )
    return True


class _Builder:
    """Adds nodes to a graph.

    Args:
        graph: to add them to.
        name: that theirs begin with.
    """

    def __init__(self, graph: gs.Graph, name: str) -> None:
        self._graph, self._name = graph, name

    def step(
        self, op: str, inputs: list[gs.Tensor], dtype: type = np.float32, **attributes: object
    ) -> gs.Variable:
        """A node of one output."""
        made = gs.Variable(f"{self._name}/sample/{len(self._graph.nodes)}_{op}", dtype)
        self._graph.nodes.append(gs.Node(op, f"{made.name}_node", dict(attributes), inputs, [made]))
        return made

    def constant(self, label: str, values: Any) -> gs.Constant:
        """A tensor that is known."""
        return gs.Constant(f"{self._name}/sample/{len(self._graph.nodes)}_{label}", np.asarray(values))

    def size(self, tensor: gs.Tensor, axis: int) -> gs.Variable:
        """Length of one axis, a float32 scalar."""
        length = self.step("Shape", [tensor], np.int64, start=axis, end=axis + 1)
        scalar = self.step("Squeeze", [length], np.int64)
        return self.step("Cast", [scalar], to=np.float32)


def _stacked(grid: gs.Tensor) -> list[gs.Tensor]:
    """The two planes (n, h, w) that a grid (n, h, w, 2) was stacked of, across and down; none if it was made otherwise."""
    stack = grid.inputs[0] if grid.inputs else None
    if stack is None or stack.op != "Concat" or stack.attrs["axis"] not in (3, -1) or len(stack.inputs) != 2:
        return []
    apart = [each.inputs[0] for each in stack.inputs if each.inputs and _at_the_end(each.inputs[0])]
    return [node.inputs[0] for node in apart] if len(apart) == 2 else []


def _as_large(sides: list[int | str], grid: gs.Tensor, stacked: list[gs.Tensor]) -> bool:
    """Whether a grid is known to have these sides (h, w): of free ones what is stacked says it, too, since it is all of one shape."""
    shapes = [each.shape for each in (grid, *stacked) if each.shape is not None]
    return all(any(shape[1 + axis] == side for shape in shapes) for axis, side in enumerate(sides))


def _planes(build: _Builder, grid: gs.Tensor, stacked: list[gs.Tensor]) -> list[gs.Tensor]:
    """What a grid holds, across and down: (n, 1, h, w) each."""
    if stacked:
        ahead = build.constant("ahead", [1])
        return [build.step("Unsqueeze", [plane, ahead]) for plane in stacked]
    apart = [build.step("Gather", [grid, build.constant(f"place{n}", [n])], axis=3) for n in range(2)]
    return [build.step("Transpose", [one], perm=[0, 3, 1, 2]) for one in apart]


def _at_the_end(node: gs.Node) -> bool:
    """Whether a node gives a tensor (n, h, w) a last axis."""
    if node.op != "Unsqueeze" or not isinstance(node.inputs[1], gs.Constant):
        return False
    return bool(node.inputs[1].values.ravel().tolist() in ([3], [-1]))


def _offset(build: _Builder, node: gs.Node, picture: gs.Tensor, plane: gs.Tensor, axis: int) -> gs.Variable:
    """How far from its own pixel each pixel reads on an axis: (n, 1, h, w)."""
    one, half, zero = (build.constant(f"number{value}", np.float32(value)) for value in (1, 0.5, 0))
    size = build.size(picture, axis)
    last = build.step("Sub", [size, one])
    middle = build.step("Mul", [last, half])
    aligned = bool(node.attrs.get("align_corners", 0))
    scale = middle if aligned else build.step("Mul", [size, half])
    place = build.step("Add", [build.step("Mul", [plane, scale]), middle])
    if node.attrs.get("padding_mode", "zeros") == "border":
        place = build.step("Clip", [place, zero, last])
    own = build.step("Range", [zero, build.size(plane, axis), one])
    if axis == 2:
        own = build.step("Unsqueeze", [own, build.constant("column", [1])])
    return build.step("Sub", [place, own])
