"""The cost volume as one node."""

from __future__ import annotations

from typing import Any

import onnx
from onnx.shape_inference import InferenceContext

from edgeflow.export.operators.descriptor import INT, PLUGIN_ATTRIBUTES, Operator, Plugin, plugin_opset
from edgeflow.ops import cost_volume as _function  # noqa: F401  registers the operator


def leave(op: Any, first: Any, second: Any, radius: int) -> Any:
    """`EdgeflowCostVolume(first, second)`."""
    return plugin_opset().EdgeflowCostVolume(first, second, radius=radius, **PLUGIN_ATTRIBUTES)


def _shifts(context: InferenceContext) -> onnx.TensorShapeProto.Dimension:
    """A cost volume has a channel per shift."""
    return onnx.TensorShapeProto.Dimension(dim_value=(2 * context.get_attribute("radius").i + 1) ** 2)


BODY = """
EdgeflowCostVolume <radius, plugin_version, plugin_namespace> (first, second) => (y)
{
    none = Constant <value_ints: ints = [0]> ()
    rest = Constant <value_ints: ints = [-1]> ()
    one = Constant <value_ints: ints = [1]> ()
    last = Constant <value_ints: ints = [4]> ()
    from_zero = Constant <value_int: int = 0> ()
    by_one = Constant <value_int: int = 1> ()
    radius = Constant <value_int: int = @radius> ()
    twice = Add (radius, radius)
    span = Add (twice, by_one)
    span_dim = Unsqueeze (span, none)
    border = Unsqueeze (radius, none)
    channels = Shape <start: int = 1, end: int = 2> (first)
    height = Shape <start: int = 2, end: int = 3> (first)
    width = Shape <start: int = 3, end: int = 4> (first)

    single = Cast <to: int = 1> (first)
    single_second = Cast <to: int = 1> (second)
    borders = Concat <axis: int = 0> (none, none, border, border, none, none, border, border)
    padded = Pad (single_second, borders)
    shifts = Range (from_zero, span, by_one)
    shift_column = Unsqueeze (shifts, one)
    height_number = Squeeze (height, none)
    lines = Range (from_zero, height_number, by_one)
    shifted_lines = Add (shift_column, lines)
    shifted = Gather <axis: int = 2> (padded, shifted_lines)
    rows = Transpose <perm: ints = [0, 2, 3, 1, 4]> (shifted)
    pixels = Transpose <perm: ints = [0, 2, 3, 1]> (single)
    pixel_rows = Unsqueeze (pixels, one)
    products = MatMul (pixel_rows, rows)

    flat_shape = Concat <axis: int = 0> (none, none, none, rest)
    flat = Reshape (products, flat_shape)
    after = Concat <axis: int = 0> (none, none, none, none, none, none, none, width)
    longer = Pad (flat, after)
    skewed_shape = Concat <axis: int = 0> (none, none, none, width, rest)
    skewed = Reshape (longer, skewed_shape)
    matches = Slice (skewed, none, span_dim, last)
    ordered = Transpose <perm: ints = [0, 1, 4, 2, 3]> (matches)
    volume_shape = Concat <axis: int = 0> (none, rest, height, width)
    volume = Reshape (ordered, volume_shape)
    count = CastLike (channels, volume)
    mean = Div (volume, count)
    y = CastLike (mean, first)
}"""
"""The same as `edgeflow.ops.cost_volume.plain`."""

OPERATOR = Operator(
    "edgeflow::cost_volume",
    Plugin(
        "EdgeflowCostVolume",
        leave,
        inputs=(("first", "T"), ("second", "T")),
        output=((0, 0), _shifts, (0, 2), (0, 3)),
        body=BODY,
        attributes={"radius": INT},
    ),
)
