"""`GridSample` never leaves at opset 20 or later: TensorRT reads its `linear` as `nearest` there."""

import onnx
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.drafts import plan
from edgeflow.export.lowering.segment import lower
from edgeflow.flow import Image, RoutedModule, trace
from edgeflow.ir.errors import ExportError
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.ops.warp import warp
from edgeflow.targets import load


class Warped(RoutedModule):
    inputs = (Image("image", 12, 16),)
    outputs = (Image("made"),)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 3, 3, 3) / 9)

    def bend(self, image):
        moved = warp(image, image[:, :2] * 4)
        return deform_conv2d(moved, image[:, :1].expand(-1, 18, -1, -1), self.weight, padding=1)

    def flow(self, f, image):
        return f.call(self.bend, image)


def graphs(compiled):
    return [
        onnx.load(compiled.path / entry.file, load_external_data=False)
        for entry in compiled.manifest.graphs.values()
    ]


def opset(model):
    return next(o.version for o in model.opset_import if o.domain == "")


def test_no_bundle_has_it_at_opset_20(tiny_bundles, tmp_path):
    target = load("cpu").with_operators("standard")
    standard = compile_kept(Warped().eval(), target, tmp_path / "warped.edgeflow", reference={})
    found = 0
    for compiled in (*tiny_bundles.values(), standard):
        for model in graphs(compiled):
            if any(node.op_type == "GridSample" for node in model.graph.node):
                found += 1
                assert opset(model) < 20
    assert found


def test_the_compiler_refuses_it_there(monkeypatch):
    monkeypatch.setattr("edgeflow.export.lowering.segment.OPSET", 20)
    model = Warped().eval()
    program = trace(model)
    (link,) = plan(program, "chained").stages[0].variants[0].links
    with pytest.raises(ExportError, match=r"segment bend: GridSample at opset 20"):
        lower(model, program, link)
