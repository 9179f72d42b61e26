"""Reads what a support report needs to know of a bundle's graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgeflow.ir.bundle import Bundle
from edgeflow.targets import Target
from edgeflow.targets.tensorrt_support import Operator, Support, support

_READ = ("strides", "pads", "dilations", "antialias", "coordinate_transformation_mode", "mode")


def supported(bundle: Bundle, target: Target) -> Support:
    """The report on a bundle's graphs for every TensorRT release of its target."""
    graphs = {name: operators(bundle.path / entry.file) for name, entry in bundle.manifest.graphs.items()}
    return support(graphs, target)


def operators(path: Path) -> list[Operator]:
    """The operators of a graph file."""
    model = onnx.load(path, load_external_data=False)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    infos = {i.name: i.type.tensor_type for i in (*inferred.input, *inferred.value_info, *inferred.output)}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    elements = {name: info.elem_type for name, info in infos.items()}
    elements |= {name: tensor.data_type for name, tensor in constants.items()}
    found = []
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.name in _READ}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        if node.op_type == "QuantizeLinear":
            attributes["zero_point"] = _zero_point(node, constants)
        types = {elements.get(name) for name in (*node.input, *node.output)}
        ranks = tuple(len(infos[name].shape.dim) if name in infos else 0 for name in node.input)
        plain = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in sorted(attributes.items()))
        found.append(
            Operator(
                node.op_type,
                node.domain,
                opsets.get(node.domain, 1),
                plain,
                onnx.TensorProto.UINT8 in types,
                onnx.TensorProto.BFLOAT16 in types,
                ranks,
            )
        )
    return found


def _zero_point(node: onnx.NodeProto, constants: dict[str, Any]) -> bool:
    """Whether a quantiser's zero point is another than zero, or its type is not signed."""
    if len(node.input) < 3 or node.input[2] not in constants:
        return False
    tensor = constants[node.input[2]]
    return tensor.data_type != onnx.TensorProto.INT8 or bool(np.any(onnx.numpy_helper.to_array(tensor)))
