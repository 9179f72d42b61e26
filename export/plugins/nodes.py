"""Operators as nodes that edgeflow's TensorRT plugins implement.

The types are unique, since TensorRT's parser picks its own importers by type alone; version and namespace
are attributes, as the parser of every release from 10.0 on looks plugins up by them. The types have ONNX
schemas here, so that graphs which hold them are checked and their shapes inferred like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import onnxscript
from onnx.defs import OpSchema
from onnx.shape_inference import InferenceContext

DOMAIN = "edgeflow"
DEFORM_CONV, ADABD, COST_VOLUME = "EdgeflowDeformConv2d", "EdgeflowAdaBD", "EdgeflowCostVolume"
PLUGIN_OPS = (DEFORM_CONV, ADABD, COST_VOLUME)
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


def cost_volume(op: Any, first: Any, second: Any, radius: int) -> Any:
    """`EdgeflowCostVolume(first, second)`."""
    return _opset().EdgeflowCostVolume(first, second, radius=radius, **_PLUGIN)


PLUGIN_FORMS: dict[str, Callable[..., Any]] = {
    "edgeflow::deform_conv2d": deform_conv2d,
    "edgeflow::adabd": adabd,
    "edgeflow::cost_volume": cost_volume,
}
"""By the operator's name."""


def _opset() -> Any:
    return onnxscript.values.Opset(DOMAIN, 1)


Size: TypeAlias = tuple[int, int] | Callable[[InferenceContext], onnx.TensorShapeProto.Dimension]
"""One dimension of an output: as (input, its dimension), or made of attributes."""


def _shifts(context: InferenceContext) -> onnx.TensorShapeProto.Dimension:
    """A cost volume has a channel per shift."""
    return onnx.TensorShapeProto.Dimension(dim_value=(2 * context.get_attribute("radius").i + 1) ** 2)


def _register(
    name: str,
    inputs: Sequence[tuple[str, str]],
    output: Sequence[Size],
    attributes: Mapping[str, OpSchema.AttrType],
    optional: int = 0,
) -> None:
    """Make ONNX know an operator whose output has the type of its first input.

    Args:
        name: of the type.
        inputs: (name, type string).
        output: its dimensions; the inputs that they are of have four.
        attributes: all required, besides those that name the plugin.
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
    strings = dict.fromkeys(_PLUGIN, OpSchema.AttrType.STRING)
    types = {type_ for _, type_ in inputs}
    constraints = [("T", _FLOATS, "computed in this type"), ("P", ["tensor(float)"], "coordinates")]
    schema = OpSchema(
        name,
        DOMAIN,
        1,
        inputs=parameters,
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[constraint for constraint in constraints if constraint[0] in types],
        attributes=[OpSchema.Attribute(key, type_) for key, type_ in {**strings, **attributes}.items()],
    )
    read = {size[0] for size in output if isinstance(size, tuple)}

    def infer(context: InferenceContext) -> None:
        made = onnx.TypeProto()
        made.tensor_type.elem_type = context.get_input_type(0).tensor_type.elem_type
        shapes = {i: context.get_input_type(i).tensor_type.shape.dim for i in read}
        if all(len(shape) == 4 for shape in shapes.values()):
            for size in output:
                dim = shapes[size[0]][size[1]] if isinstance(size, tuple) else size(context)
                made.tensor_type.shape.dim.add().CopyFrom(dim)
        context.set_output_type(0, made)

    schema.set_type_and_shape_inference_function(infer)
    onnx.defs.register_schema(schema)


if not onnx.defs.has(DEFORM_CONV, DOMAIN):
    _INT, _INTS = OpSchema.AttrType.INT, OpSchema.AttrType.INTS
    _register(
        DEFORM_CONV,
        [("x", "T"), ("weight", "T"), ("offset", "P"), ("bias", "T"), ("mask", "P")],
        [(0, 0), (1, 0), (2, 2), (2, 3)],
        {"strides": _INTS, "pads": _INTS, "dilations": _INTS, "group": _INT, "offset_group": _INT},
        optional=1,
    )
    _register(
        ADABD,
        [("current", "T"), ("reference", "T"), ("offset", "P"), ("mask", "P"), ("weight", "T")],
        [(0, 0), (4, 0), (2, 2), (2, 3)],
        {},
    )
    _register(
        COST_VOLUME,
        [("first", "T"), ("second", "T")],
        [(0, 0), _shifts, (0, 2), (0, 3)],
        {"radius": _INT},
    )
