"""AdaCoF as one node, and as a native kernel."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgeflow.export.operators.descriptor import (
    INT,
    PLUGIN_ATTRIBUTES,
    KernelDraft,
    Operator,
    Plugin,
    plugin_opset,
)
from edgeflow.ops.adacof import AdaCoF


def leave(op: Any, image: Any, weight: Any, alpha: Any, beta: Any, dilation: int) -> Any:
    """`EdgeflowAdaCoF(image, weight, alpha, beta)`."""
    return plugin_opset().EdgeflowAdaCoF(image, weight, alpha, beta, dilation=dilation, **PLUGIN_ATTRIBUTES)


BODY = """
EdgeflowAdaCoF <dilation, plugin_version, plugin_namespace> (image, weight, alpha, beta) => (y)
{
    none = Constant <value_ints: ints = [0]> ()
    rest = Constant <value_ints: ints = [-1]> ()
    one_dim = Constant <value_ints: ints = [1]> ()
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    two = Constant <value_int: int = 2> ()
    minus_one = Constant <value_int: int = -1> ()
    far = Constant <value_int: int = 256> ()
    dilation = Constant <value_int: int = @dilation> ()
    single = Cast <to: int = 1> (image)
    single_weight = Cast <to: int = 1> (weight)
    images_dim = Shape <start: int = 0, end: int = 1> (image)
    channels_dim = Shape <start: int = 1, end: int = 2> (image)
    height_dim = Shape <start: int = 2, end: int = 3> (image)
    width_dim = Shape <start: int = 3, end: int = 4> (image)
    taps_dim = Shape <start: int = 1, end: int = 2> (weight)
    images = Squeeze (images_dim)
    height = Squeeze (height_dim)
    width = Squeeze (width_dim)
    taps = Squeeze (taps_dim)

    taps_float = Cast <to: int = 1> (taps)
    side_float = Sqrt (taps_float)
    side_round = Round (side_float)
    side = Cast <to: int = 7> (side_round)
    radius = Div (side, two)
    tap = Range (zero, taps, one)
    tap_row = Div (tap, side)
    tap_column = Mod (tap, side)
    tap_down = Sub (tap_row, radius)
    tap_right = Sub (tap_column, radius)
    step_down = Mul (tap_down, dilation)
    step_right = Mul (tap_right, dilation)
    column_shape = Concat <axis: int = 0> (rest, one_dim, one_dim)
    line_shape = Concat <axis: int = 0> (rest, one_dim)
    steps_down = Reshape (step_down, column_shape)
    steps_right = Reshape (step_right, column_shape)
    lines = Range (zero, height, one)
    line_column = Reshape (lines, line_shape)
    columns = Range (zero, width, one)
    starts_down = Add (steps_down, line_column)
    starts_right = Add (steps_right, columns)

    twice_height = Mul (height, two)
    twice_width = Mul (width, two)
    far_down = Add (twice_height, far)
    far_right = Add (twice_width, far)
    most_down = Cast <to: int = 1> (far_down)
    most_right = Cast <to: int = 1> (far_right)
    least_down = Neg (most_down)
    least_right = Neg (most_right)
    near_alpha = Clip (alpha, least_down, most_down)
    near_beta = Clip (beta, least_right, most_right)
    whole_alpha = Cast <to: int = 7> (near_alpha)
    whole_beta = Cast <to: int = 7> (near_beta)
    floor_alpha = Cast <to: int = 1> (whole_alpha)
    floor_beta = Cast <to: int = 1> (whole_beta)
    down = Sub (near_alpha, floor_alpha)
    right = Sub (near_beta, floor_beta)
    last_line = Sub (height, one)
    last_column = Sub (width, one)
    moved_down = Add (whole_alpha, starts_down)
    moved_right = Add (whole_beta, starts_right)
    least_line = Max (moved_down, minus_one)
    least_column = Max (moved_right, minus_one)
    line = Min (least_line, last_line)
    column = Min (least_column, last_column)

    bordered_height = Add (height, two)
    bordered_width = Add (width, two)
    area = Mul (bordered_height, bordered_width)
    image_number = Range (zero, images, one)
    image_start = Mul (image_number, area)
    image_shape = Concat <axis: int = 0> (rest, one_dim, one_dim, one_dim)
    image_starts = Reshape (image_start, image_shape)
    bordered_line = Add (line, one)
    bordered_column = Add (column, one)
    line_start = Mul (bordered_line, bordered_width)
    in_image = Add (line_start, bordered_column)
    place = Add (in_image, image_starts)
    flat_shape = Concat <axis: int = 0> (one_dim, rest)
    flat_place = Reshape (place, flat_shape)
    place_right = Add (flat_place, one)
    place_below = Add (flat_place, bordered_width)
    place_across = Add (place_below, one)

    borders = Constant <value_ints: ints = [0, 0, 1, 1, 0, 0, 1, 1]> ()
    bordered = Pad <mode: string = "edge"> (single, borders)
    turned = Transpose <perm: ints = [1, 0, 2, 3]> (bordered)
    planes_shape = Concat <axis: int = 0> (channels_dim, rest)
    planes = Reshape (turned, planes_shape)
    read_own = Gather <axis: int = 1> (planes, flat_place)
    read_right = Gather <axis: int = 1> (planes, place_right)
    read_below = Gather <axis: int = 1> (planes, place_below)
    read_across = Gather <axis: int = 1> (planes, place_across)

    lower = Mul (single_weight, down)
    upper = Sub (single_weight, lower)
    share_right = Mul (upper, right)
    share_across = Mul (lower, right)
    share_own = Sub (upper, share_right)
    share_below = Sub (lower, share_across)
    own_line = Reshape (share_own, rest)
    right_line = Reshape (share_right, rest)
    below_line = Reshape (share_below, rest)
    across_line = Reshape (share_across, rest)
    own = Mul (read_own, own_line)
    beside = Mul (read_right, right_line)
    below = Mul (read_below, below_line)
    across = Mul (read_across, across_line)
    upper_sum = Add (own, beside)
    lower_sum = Add (below, across)
    sampled = Add (upper_sum, lower_sum)
    sampled_shape = Concat <axis: int = 0> (channels_dim, images_dim, taps_dim, height_dim, width_dim)
    by_tap = Reshape (sampled, sampled_shape)
    tap_axis = Constant <value_ints: ints = [2]> ()
    sums = ReduceSum <keepdims: int = 0> (by_tap, tap_axis)
    made = Transpose <perm: ints = [1, 0, 2, 3]> (sums)
    y = CastLike (made, image)
}"""
"""The same as `edgeflow.ops.adacof.onnx_planes`."""


def kernel(segment: nn.Module) -> KernelDraft | None:
    """The kernel of a segment that is an `AdaCoF` whose taps lie side by side."""
    return KernelDraft("adacof", {}) if isinstance(segment, AdaCoF) and segment.dilation == 1 else None


OPERATOR = Operator(
    "edgeflow::adacof",
    Plugin(
        "EdgeflowAdaCoF",
        leave,
        inputs=(("image", "T"), ("weight", "T"), ("alpha", "P"), ("beta", "P")),
        output=((0, 0), (0, 1), (0, 2), (0, 3)),
        body=BODY,
        attributes={"dilation": INT},
        exact_inputs=(2, 3),
        single_inputs=(2, 3),
    ),
    kernel,
)
