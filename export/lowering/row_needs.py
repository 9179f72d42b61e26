"""Which rows of its inputs an operator needs to make some rows of its output, and the same operator for these rows alone.

Rows are the last dimension but one of pictures (n, c, h, w). An operator that has no entry here may look at all of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgeflow.export.elementwise import ELEMENTWISE

Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""Sizes of tensors by name; 0 where one is free."""
Rows: TypeAlias = tuple[int, int]
"""First row, and the row after the last."""

ROWS = 2
"""The dimension of pictures that rows lie along."""
PIXELWISE = ELEMENTWISE | {"BatchNormalization", "Cast", "Concat", "Identity", "Softmax"}
"""Operators that make a row of the same row of their inputs; but for `Concat` and `Softmax` along rows."""
POOLING = frozenset(["AveragePool", "MaxPool"])


@dataclass(frozen=True)
class Need:
    """What makes some rows of an operator's output.

    Attributes:
        rows: of its inputs, by their position; other inputs are read as they are.
        made: the rows that come of it, of which those that are wanted are a part.
        attributes: that differ from the operator's own.
        constants: inputs that take the place of its own, by position.
        before: of operators that come first, on input 0: (operator, constant, whether that is its first input).
    """

    rows: Mapping[int, Rows]
    made: Rows
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, NDArray[Any]] = field(default_factory=dict)
    before: tuple[tuple[str, NDArray[Any]], ...] = ()


@dataclass(frozen=True)
class _Seen:
    """A node with what is known of its surroundings."""

    node: onnx.NodeProto
    shapes: Shapes
    constants: Mapping[str, NDArray[Any]]

    def attribute(self, name: str, default: Any) -> Any:
        found = (helper.get_attribute_value(a) for a in self.node.attribute if a.name == name)
        return next(found, default)

    def constant(self, position: int) -> NDArray[Any] | None:
        given = self.node.input
        return self.constants.get(given[position]) if len(given) > position and given[position] else None

    def height(self, name: str) -> int:
        return self.shapes[name][ROWS]

    @property
    def given(self) -> int:
        return self.height(self.node.input[0])


def need(
    node: onnx.NodeProto, wanted: Rows, shapes: Shapes, constants: Mapping[str, NDArray[Any]]
) -> Need | None:
    """What makes some rows of a node's output; None if it may look at all of a picture.

    Args:
        node: of a graph.
        wanted: rows of its first output.
        shapes: of the graph's tensors.
        constants: of the graph, by name; large ones may be missing.
    """
    if len(node.output) != 1 or not _is_picture(node.output[0], shapes):
        return None
    seen = _Seen(node, shapes, constants)
    if node.op_type in PIXELWISE:
        return _pixelwise(seen, wanted)
    rule = _RULES.get(node.op_type)
    if rule is None or not _is_picture(node.input[0], shapes):
        return None
    return rule(seen, wanted)


def _is_picture(name: str, shapes: Shapes) -> bool:
    return len(shapes.get(name, ())) == 4 and shapes[name][ROWS] > 0


def _pixelwise(seen: _Seen, wanted: Rows) -> Need | None:
    if seen.node.op_type in ("Concat", "Softmax") and seen.attribute("axis", -1) in (ROWS, ROWS - 4):
        return None
    height = seen.height(seen.node.output[0])
    rows = {}
    for position, name in enumerate(seen.node.input):
        shape = tuple(seen.shapes.get(name, ()))
        if len(shape) == 4 and shape[ROWS] == height and height > 1:
            rows[position] = wanted
        elif len(shape) > 1 and shape[ROWS - 4 :][0] != 1:  # rows without a picture's dimensions
            return None
    return Need(rows, wanted)


def _window(seen: _Seen, wanted: Rows) -> Need | None:
    """A convolution or a pooling; its padding stays where the frame ends."""
    weight = seen.shapes.get(seen.node.input[1], ()) if seen.node.op_type == "Conv" else ()
    side = seen.attribute("kernel_shape", list(weight[2:]))
    if not side or seen.attribute("auto_pad", b"NOTSET") != b"NOTSET" or seen.attribute("ceil_mode", 0):
        return None
    stride, dilation = (seen.attribute(name, [1, 1])[0] for name in ("strides", "dilations"))
    pads = list(seen.attribute("pads", [0, 0, 0, 0]))
    first = wanted[0] * stride - pads[0]
    end = (wanted[1] - 1) * stride - pads[0] + (side[0] - 1) * dilation + 1
    rows = max(first, 0), min(end, seen.given)
    if rows[0] >= rows[1]:
        return None
    pads[0], pads[2] = rows[0] - first, end - rows[1]
    return Need({0: rows}, wanted, {"pads": pads})


def _reduction(seen: _Seen, wanted: Rows) -> Need | None:
    """A maximum or a sum over channels or columns."""
    axes = seen.constant(1)
    if axes is None or not axes.size or {ROWS, ROWS - 4} & set(axes.ravel().tolist()):
        return None
    if not seen.attribute("keepdims", 1):  # rows are another dimension then
        return None
    return Need({0: wanted}, wanted)


def _resize(seen: _Seen, wanted: Rows) -> Need | None:
    """Linear enlargement: down by a matrix, across as it is."""
    height, width = (seen.shapes[seen.node.output[0]][d] for d in (ROWS, ROWS + 1))
    scales = seen.constant(2)
    given, across = seen.given, seen.shapes[seen.node.input[0]][ROWS + 1]
    if scales is None or len(scales) != 4 or seen.attribute("mode", b"nearest") != b"linear":
        return None
    if seen.attribute("antialias", 0) or seen.attribute("exclude_outside", 0) or not width or not across:
        return None
    place = _PLACES.get(seen.attribute("coordinate_transformation_mode", b"half_pixel"))
    if place is None:
        return None
    places = [min(max(place(row, height, given, float(scales[2])), 0), given - 1) for row in range(*wanted)]
    rows = floor(places[0]), min(floor(places[-1]) + 2, given)
    matrix = np.zeros((len(places), rows[1] - rows[0]), np.float32)
    for row, at in enumerate(places):
        low = floor(at)
        matrix[row, low - rows[0]] += 1 - (at - low)
        if at > low:
            matrix[row, low + 1 - rows[0]] += at - low
    own = np.array([1, 1, 1, scales[3]], np.float32)
    return Need({0: rows}, wanted, constants={2: own}, before=(("MatMul", matrix),))


_PLACES: Mapping[bytes, Callable[[int, int, int, float], float]] = {
    b"align_corners": lambda row, made, given, scale: row * (given - 1) / max(made - 1, 1),
    b"half_pixel": lambda row, made, given, scale: (row + 0.5) / scale - 0.5,
    b"pytorch_half_pixel": lambda row, made, given, scale: (row + 0.5) / scale - 0.5 if made > 1 else 0,
    b"asymmetric": lambda row, made, given, scale: row / scale,
}
"""Where a row of an enlarged picture lies in its own. Source: ONNX operator specification, Resize."""


def _pad(seen: _Seen, wanted: Rows) -> Need | None:
    pads = seen.constant(1)
    if pads is None or len(pads) != 8 or len(seen.node.input) > 3:
        return None
    if seen.attribute("mode", b"constant") not in (b"constant", b"edge") or pads.min() < 0:
        return None
    first, end = (row - int(pads[ROWS]) for row in wanted)
    rows = min(max(first, 0), seen.given - 1), max(min(end, seen.given), 1)
    own = pads.copy()
    own[ROWS], own[ROWS + 4] = max(rows[0] - first, 0), max(end - rows[1], 0)
    made = rows[0] - own[ROWS] + pads[ROWS], rows[1] + own[ROWS + 4] + pads[ROWS]
    return Need({0: rows}, (int(made[0]), int(made[1])), constants={1: own})


def _depth_to_space(seen: _Seen, wanted: Rows) -> Need | None:
    block = seen.attribute("blocksize", 1)
    rows = wanted[0] // block, -(-wanted[1] // block)
    return Need({0: rows}, (rows[0] * block, rows[1] * block))


def _reshape(seen: _Seen, wanted: Rows) -> Need | None:
    """One that leaves rows and what they hold as they are."""
    shape = seen.constant(1)
    before, after = (seen.shapes[name] for name in (seen.node.input[0], seen.node.output[0]))
    if shape is None or tuple(before[ROWS:]) != tuple(after[ROWS:]) or seen.attribute("allowzero", 0):
        return None
    own = shape.copy()
    own[ROWS] = 0  # as the input's
    return Need({0: wanted}, wanted, constants={1: own})


def cut(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> Rows | None:
    """The rows that a `Slice` takes, if it takes rows alone, one after another."""
    if node.op_type != "Slice" or len(node.input) < 4:
        return None
    first, end, axes = (constants.get(name) for name in node.input[1:4])
    steps = constants.get(node.input[4]) if len(node.input) > 4 else np.ones(1)
    if first is None or end is None or axes is None or steps is None or list(axes) != [ROWS]:
        return None
    return (int(first[0]), int(end[0])) if steps[0] == 1 and first[0] >= 0 and end[0] > first[0] else None


_RULES: Mapping[str, Callable[[_Seen, Rows], Need | None]] = {
    "Conv": _window,
    **dict.fromkeys(POOLING, _window),
    "Resize": _resize,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "Reshape": _reshape,
    "ReduceMax": _reduction,
    "ReduceSum": _reduction,
}
