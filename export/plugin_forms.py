"""Deformable operators as nodes that edgeflow's TensorRT plugins implement.

The types are unique, since TensorRT's parser picks its own importers by type alone; version and namespace
are attributes, as the parser of every release from 10.0 on looks plugins up by them. The types have ONNX
schemas here, so that graphs which hold them are checked and their shapes inferred like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnxscript
from onnx.defs import OpSchema

DOMAIN = "edgeflow"
DEFORM_CONV, ADABD = "EdgeflowDeformConv2d", "EdgeflowAdaBD"
PLUGIN_OPS = (DEFORM_CONV, ADABD)
_PLUGIN = {"plugin_version": "1", "plugin_namespace": DOMAIN}
_FLOATS = ["tensor(float)", "tensor(float16)"]


def deform_conv2d(
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
    return _opset().EdgeflowDeformConv2d(
        *inputs,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=input.shape[1] // inside,
        offset_group=offset.shape[1] // (2 * height * width),
        **_PLUGIN,
    )


def adabd(op: Any, current: Any, reference: Any, offset: Any, mask: Any, weight: Any) -> Any:
    """`EdgeflowAdaBD(current, reference, offset, mask, weight)`."""
    return _opset().EdgeflowAdaBD(current, reference, offset, mask, weight, **_PLUGIN)


PLUGIN_FORMS: dict[str, Callable[..., Any]] = {
    "edgeflow::deform_conv2d": deform_conv2d,
    "edgeflow::adabd": adabd,
}
"""By the operator's name."""


def _opset() -> Any:
    return onnxscript.values.Opset(DOMAIN, 1)


def _register(name: str, inputs: Sequence[tuple[str, str]], weight: int, offset: int, optional: int) -> None:
    """Make ONNX know an operator whose output has the type of its first input.

    Args:
        name: of the type.
        inputs: (name, type string).
        weight: the input whose first dimension is the output's channels.
        offset: the input whose height and width are the output's.
        optional: inputs at the end that may be left out.
    """
    last = len(inputs) - optional
    options = [OpSchema.FormalParameterOption.Single] * last + [
        OpSchema.FormalParameterOption.Optional
    ] * optional
    parameters = [
        OpSchema.FormalParameter(label, type_, param_option=option)
        for (label, type_), option in zip(inputs, options, strict=True)
    ]
    strings = [OpSchema.Attribute(key, OpSchema.AttrType.STRING) for key in _PLUGIN]
    lists = [OpSchema.Attribute(key, OpSchema.AttrType.INTS) for key in ("strides", "pads", "dilations")]
    numbers = [OpSchema.Attribute(key, OpSchema.AttrType.INT) for key in ("group", "offset_group")]
    schema = OpSchema(
        name,
        DOMAIN,
        1,
        inputs=parameters,
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[("T", _FLOATS, "computed in this type"), ("P", ["tensor(float)"], "coordinates")],
        attributes=strings + (lists + numbers if name == DEFORM_CONV else []),
    )

    def infer(context: onnx.shape_inference.InferenceContext) -> None:
        made = onnx.TypeProto()
        made.tensor_type.elem_type = context.get_input_type(0).tensor_type.elem_type
        shapes = [context.get_input_type(i).tensor_type.shape.dim for i in (0, weight, offset)]
        if all(len(shape) == 4 for shape in shapes):
            for dim in (shapes[0][0], shapes[1][0], shapes[2][2], shapes[2][3]):
                made.tensor_type.shape.dim.add().CopyFrom(dim)
        context.set_output_type(0, made)

    schema.set_type_and_shape_inference_function(infer)
    onnx.defs.register_schema(schema)


if not onnx.defs.has(DEFORM_CONV, DOMAIN):
    _register(
        DEFORM_CONV, [("x", "T"), ("weight", "T"), ("offset", "P"), ("bias", "T"), ("mask", "P")], 1, 2, 1
    )
    _register(
        ADABD,
        [("current", "T"), ("reference", "T"), ("offset", "P"), ("mask", "P"), ("weight", "T")],
        4,
        2,
        0,
    )
