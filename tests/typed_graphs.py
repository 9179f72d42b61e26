"""Graphs of single modules, and the types in them, for tests of half precision."""

from __future__ import annotations

import onnx
import torch
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.ops.warp import warp


class Warping(nn.Module):
    """A flow of hundreds of pixels from a convolution, then a warp and a norm."""

    def __init__(self):
        super().__init__()
        self.flow, self.out = nn.Conv2d(4, 2, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        moved = warp(x, self.flow(x) * 20)
        return self.out(torch.nn.functional.instance_norm(moved))


def exported(module, *tensors, form="native"):
    segment = SegmentModule(module, {}, (False,) * len(tensors), (False,)).eval()
    return to_onnx(segment, tensors, [{} for _ in tensors], ["out.0"], "a test", form)


def types(model):
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {
        i.name: i.type.tensor_type.elem_type
        for i in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    known |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    return {node.op_type: {known.get(name) for name in node.input if name} for node in inferred.node}, known
