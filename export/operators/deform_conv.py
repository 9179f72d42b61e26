"""Deformable convolution as one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeflow.export.operators.descriptor import INT, INTS, PLUGIN_ATTRIBUTES, Operator, Plugin, plugin_opset
from edgeflow.ops import deform_conv as _function  # noqa: F401  registers the operator


def leave(
    op: Any,
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Any,
) -> Any:
    """`EdgeflowDeformConv2d(x, weight, offset, bias[, mask])`, in the order of ONNX's `DeformConv`."""
    o, inside, height, width = weight.shape
    if bias is None:
        bias = op.Constant(value_floats=[0.0] * o)
    inputs = (input, weight, offset, bias, *(() if mask is None else (mask,)))
    return plugin_opset().EdgeflowDeformConv2d(
        *inputs,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=input.shape[1] // inside,
        offset_group=offset.shape[1] // (2 * height * width),
        **PLUGIN_ATTRIBUTES,
    )


BODY = """
EdgeflowDeformConv2d
    <strides, pads, dilations, group, offset_group, plugin_version, plugin_namespace>
    (x, weight, offset, bias, mask) => (y)
{
    single = CastLike (x, offset)
    single_weight = CastLike (weight, offset)
    single_bias = CastLike (bias, offset)
    made = DeformConv <strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations,
                       group: int = @group, offset_group: int = @offset_group>
           (single, single_weight, offset, single_bias, mask)
    y = CastLike (made, x)
}"""

OPERATOR = Operator(
    "edgeflow::deform_conv2d",
    Plugin(
        "EdgeflowDeformConv2d",
        leave,
        inputs=(("x", "T"), ("weight", "T"), ("offset", "P"), ("bias", "T"), ("mask", "P")),
        output=((0, 0), (1, 0), (2, 2), (2, 3)),
        body=BODY,
        attributes={"strides": INTS, "pads": INTS, "dilations": INTS, "group": INT, "offset_group": INT},
        optional=1,
        exact_inputs=(2,),
        single_inputs=(2, 4),
    ),
)
