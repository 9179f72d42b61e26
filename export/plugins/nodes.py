"""Operators as nodes that plugins implement.

Version and namespace are attributes, as TensorRT's parser looks plugins up by them. The types have ONNX schemas here,
so that graphs which hold them are checked and their shapes inferred like any other.
"""

from __future__ import annotations

import onnx
from onnx.defs import OpSchema
from onnx.shape_inference import InferenceContext

from edgeflow.export.operators import operators
from edgeflow.export.operators.descriptor import DOMAIN, PLUGIN_ATTRIBUTES, Plugin

PLUGINS = {own.plugin.node: own.plugin for own in operators() if own.plugin}
"""By the type of the node."""

_CONSTRAINTS = {
    "T": (["tensor(float)", "tensor(float16)"], "computed in this type"),
    "P": (["tensor(float)"], "coordinates"),
}


def _schema(plugin: Plugin) -> OpSchema:
    """An operator whose output has the type of its first input."""
    last = len(plugin.inputs) - plugin.optional
    option = OpSchema.FormalParameterOption
    parameters = [
        OpSchema.FormalParameter(name, type_, param_option=option.Single if i < last else option.Optional)
        for i, (name, type_) in enumerate(plugin.inputs)
    ]
    strings = dict.fromkeys(PLUGIN_ATTRIBUTES, OpSchema.AttrType.STRING)
    types = {type_ for _, type_ in plugin.inputs}
    schema = OpSchema(
        plugin.node,
        DOMAIN,
        1,
        inputs=parameters,
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[(name, *rest) for name, rest in _CONSTRAINTS.items() if name in types],
        attributes=[
            OpSchema.Attribute(key, type_) for key, type_ in {**strings, **plugin.attributes}.items()
        ],
    )
    read = {size[0] for size in plugin.output if isinstance(size, tuple)}

    def infer(context: InferenceContext) -> None:
        made = onnx.TypeProto()
        made.tensor_type.elem_type = context.get_input_type(0).tensor_type.elem_type
        shapes = {i: context.get_input_type(i).tensor_type.shape.dim for i in read}
        if all(len(shape) == 4 for shape in shapes.values()):
            for size in plugin.output:
                dim = shapes[size[0]][size[1]] if isinstance(size, tuple) else size(context)
                made.tensor_type.shape.dim.add().CopyFrom(dim)
        context.set_output_type(0, made)

    schema.set_type_and_shape_inference_function(infer)
    return schema


for _plugin in PLUGINS.values():
    if not onnx.defs.has(_plugin.node, DOMAIN):
        onnx.defs.register_schema(_schema(_plugin))
