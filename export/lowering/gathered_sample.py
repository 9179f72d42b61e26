"""`GridSample` by gathers: bilinear sampling of pictures in operators that no release of TensorRT is known to get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

MODES = ("bilinear", "linear")
PADDINGS = ("zeros", "border")


@dataclass(frozen=True)
class Sampling:
    """How a `GridSample` samples: what lies around the picture, and whether -1 and 1 are corners' centres."""

    padding: str
    align_corners: bool


def sampling(node: onnx.NodeProto) -> Sampling | None:
    """How a node samples; None if it is no `GridSample`, or one that is not made of gathers here."""
    if node.op_type != "GridSample" or node.domain:
        return None
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    mode, padding = (given.get(k, d).decode() for k, d in (("mode", b"linear"), ("padding_mode", b"zeros")))
    if mode not in MODES or padding not in PADDINGS:
        return None
    return Sampling(padding, bool(given.get("align_corners", 0)))


def with_gathers(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose every `GridSample` that can be is made of gathers. Pictures are float32."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = []
    for number, node in enumerate(model.graph.node):
        how = sampling(node)
        nodes += list(_nodes(node, how, f"gathered.{number}")) if how else [node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _nodes(node: onnx.NodeProto, how: Sampling, prefix: str) -> Iterator[onnx.NodeProto]:
    """Nodes that compute what a `GridSample` (n, c, h, w), (n, y, x, 2) does."""
    picture, grid = node.input
    build = _Builder(prefix)
    around = (1, 2) if how.padding == "zeros" else (0, 1)
    pads = build.constant([0, 0, around[0], around[0], 0, 0, around[1], around[1]], np.int64)
    mode = "constant" if how.padding == "zeros" else "edge"
    padded = build("Pad", picture, pads, mode=mode)
    lines = build("Transpose", padded, perm=[0, 2, 3, 1])
    channels = build(
        "Slice", build("Shape", picture), build.constant([1], np.int64), build.constant([2], np.int64)
    )
    flat = build("Reshape", lines, build("Concat", build.constant([0, -1], np.int64), channels, axis=0))
    width = build(
        "Slice", build("Shape", lines), build.constant([2], np.int64), build.constant([3], np.int64)
    )
    (left, right), (top, below) = (_axis(build, how, picture, grid, i, around[0]) for i in (0, 1))
    rows = []
    for add in (0, 1):
        row = build("Mul", build("Add", top, build.constant(add, np.int64)), width)
        ends = [build("Add", build("Add", row, left), build.constant(more, np.int64)) for more in (0, 1)]
        first, second = (
            build("GatherND", flat, build("Unsqueeze", end, build.constant([-1], np.int64)), batch_dims=1)
            for end in ends
        )
        rows.append(_between(build, first, second, right))
    result = _between(build, rows[0], rows[1], below)
    yield from build.nodes
    yield helper.make_node("Transpose", [result], list(node.output), name=f"{prefix}/last", perm=[0, 3, 1, 2])


def _axis(build: _Builder, how: Sampling, picture: str, grid: str, axis: int, before: int) -> tuple[str, str]:
    """Where every sample lies along one axis: the padded picture's line before it (int64), and how far it is behind that."""
    size = build(
        "Cast", build("Slice", build("Shape", picture), *_ends(build, 3 - axis)), to=onnx.TensorProto.FLOAT
    )
    one, half = build.constant(1, np.float32), build.constant(0.5, np.float32)
    given = build("Gather", grid, build.constant(axis, np.int64), axis=3)
    last = build("Sub", size, one)
    if how.align_corners:
        place = build("Mul", build("Mul", build("Add", given, one), half), last)
    else:
        place = build("Mul", build("Sub", build("Mul", build("Add", given, one), size), one), half)
    low, high = (
        (build.constant(-1, np.float32), size)
        if how.padding == "zeros"
        else (build.constant(0, np.float32), last)
    )
    inside = build("Min", build("Max", place, low), high)
    line = build("Floor", inside)
    number = build("Add", build("Cast", line, to=onnx.TensorProto.INT64), build.constant(before, np.int64))
    share = build("Unsqueeze", build("Sub", inside, line), build.constant([-1], np.int64))
    return number, share


def _ends(build: _Builder, index: int) -> tuple[str, str]:
    return build.constant([index], np.int64), build.constant([index + 1], np.int64)


def _between(build: _Builder, first: str, second: str, share: str) -> str:
    """A mean of two, weighted: first + (second - first) * share."""
    return build("Add", first, build("Mul", build("Sub", second, first), share))


class _Builder:
    """Makes nodes, and names their outputs."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a node of this kind."""
        name = f"{self._prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any) -> str:
        """A constant."""
        name = f"{self._prefix}/constant_{len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(value, dtype), name)
        self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name


def definition(picture: NDArray[np.float32], grid: NDArray[np.float32], how: Sampling) -> NDArray[np.float32]:
    """What `GridSample` computes, in float64, from ONNX's definition: (n, c, h, w), (n, y, x, 2) to (n, c, y, x)."""
    height, width = picture.shape[2:]
    x, y = (_unnormalised(grid[..., i].astype(np.float64), n, how) for i, n in ((0, width), (1, height)))
    if how.padding == "border":
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x), np.floor(y)
    total = np.zeros((*picture.shape[:2], *grid.shape[1:3]))
    for down in (0, 1):
        for across in (0, 1):
            row, column = top + down, left + across
            share = (1 - np.abs(y - row)) * (1 - np.abs(x - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            rows, columns = np.clip(row, 0, height - 1).astype(int), np.clip(column, 0, width - 1).astype(int)
            for n in range(len(picture)):
                total[n] += picture[n][:, rows[n], columns[n]] * (share * inside)[n]
    return total.astype(np.float32)


def _unnormalised(given: NDArray[np.float64], size: int, how: Sampling) -> NDArray[np.float64]:
    return (given + 1) / 2 * (size - 1) if how.align_corners else ((given + 1) * size - 1) / 2
