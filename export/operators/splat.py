"""Summation splatting as one node."""

from __future__ import annotations

from typing import Any

from edgeflow.export.operators.descriptor import PLUGIN_ATTRIBUTES, Operator, Plugin, plugin_opset
from edgeflow.ops import splat as _function  # noqa: F401  registers the operator


def leave(op: Any, values: Any, flow: Any) -> Any:
    """`EdgeflowSplat(values, flow)`."""
    return plugin_opset().EdgeflowSplat(values, flow, **PLUGIN_ATTRIBUTES)


BODY = """
EdgeflowSplat <plugin_version, plugin_namespace> (values, flow) => (y)
{
    none = Constant <value_ints: ints = [0]> ()
    one_dim = Constant <value_ints: ints = [1]> ()
    two_dim = Constant <value_ints: ints = [2]> ()
    rest = Constant <value_ints: ints = [-1]> ()
    four_dim = Constant <value_ints: ints = [4]> ()
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    still = Constant <value_float: float = 0.0> ()
    whole = Constant <value_float: float = 1.0> ()
    twice = Constant <value_float: float = 2.0> ()
    single = Cast <to: int = 1> (values)
    images = Shape <start: int = 0, end: int = 1> (values)
    channels = Shape <start: int = 1, end: int = 2> (values)
    height_dim = Shape <start: int = 2, end: int = 3> (values)
    width_dim = Shape <start: int = 3, end: int = 4> (values)
    height = Squeeze (height_dim)
    width = Squeeze (width_dim)
    high = Cast <to: int = 1> (height)
    wide = Cast <to: int = 1> (width)
    most_down = Mul (high, twice)
    most_right = Mul (wide, twice)
    least_down = Neg (most_down)
    least_right = Neg (most_right)
    flow_x = Slice (flow, none, one_dim, one_dim)
    flow_y = Slice (flow, one_dim, two_dim, one_dim)
    near_x = Clip (flow_x, least_right, most_right)
    near_y = Clip (flow_y, least_down, most_down)
    columns_int = Range (zero, width, one)
    columns = Cast <to: int = 1> (columns_int)
    lines_int = Range (zero, height, one)
    lines_flat = Cast <to: int = 1> (lines_int)
    line_shape = Concat <axis: int = 0> (rest, one_dim)
    lines = Reshape (lines_flat, line_shape)
    x = Add (near_x, columns)
    y_place = Add (near_y, lines)
    left = Floor (x)
    top = Floor (y_place)
    right = Sub (x, left)
    down = Sub (y_place, top)
    not_right = Sub (whole, right)
    not_down = Sub (whole, down)
    next_left = Add (left, whole)
    next_top = Add (top, whole)
    xs = Concat <axis: int = 1> (left, next_left, left, next_left)
    ys = Concat <axis: int = 1> (top, top, next_top, next_top)
    shares_x = Concat <axis: int = 1> (not_right, right, not_right, right)
    shares_y = Concat <axis: int = 1> (not_down, not_down, down, down)
    shares = Mul (shares_x, shares_y)
    last_x = Sub (wide, whole)
    last_y = Sub (high, whole)
    inside_x = Clip (xs, still, last_x)
    inside_y = Clip (ys, still, last_y)
    is_x = Equal (inside_x, xs)
    is_y = Equal (inside_y, ys)
    is_inside = And (is_x, is_y)
    inside = Cast <to: int = 1> (is_inside)
    counted = Mul (shares, inside)
    x_int = Cast <to: int = 7> (inside_x)
    y_int = Cast <to: int = 7> (inside_y)
    line_start = Mul (y_int, width)
    place = Add (line_start, x_int)
    pixels = Mul (height_dim, width_dim)
    corners = Mul (pixels, four_dim)
    place_shape = Concat <axis: int = 0> (images, one_dim, corners)
    scatter_shape = Concat <axis: int = 0> (images, channels, corners)
    place_line = Reshape (place, place_shape)
    places = Expand (place_line, scatter_shape)
    plane_shape = Concat <axis: int = 0> (images, channels, one_dim, pixels)
    planes = Reshape (single, plane_shape)
    share_shape = Concat <axis: int = 0> (images, one_dim, four_dim, pixels)
    share_planes = Reshape (counted, share_shape)
    parts = Mul (planes, share_planes)
    part_lines = Reshape (parts, scatter_shape)
    sums_shape = Concat <axis: int = 0> (images, channels, pixels)
    empty = Expand (still, sums_shape)
    sums = ScatterElements <axis: int = 2, reduction: string = "add"> (empty, places, part_lines)
    values_shape = Shape (values)
    made = Reshape (sums, values_shape)
    y = CastLike (made, values)
}"""
"""The same as `edgeflow.ops.splat.plain`."""

OPERATOR = Operator(
    "edgeflow::splat",
    Plugin(
        "EdgeflowSplat",
        leave,
        inputs=(("values", "T"), ("flow", "P")),
        output=((0, 0), (0, 1), (0, 2), (0, 3)),
        body=BODY,
        exact_inputs=(1,),
        single_inputs=(1,),
    ),
)
