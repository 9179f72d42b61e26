"""Images are cast before they are moved about, and moved before they become bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.export.support import operators
from edgeflow.runtime.backends import open_backend


class Body(nn.Module):
    """Two pictures in, one out, by way of its shape."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, first, second):
        return torch.sigmoid(self.net(torch.cat((first, second), 1))) + (first + second) / 4


@pytest.mark.parametrize("free", [False, True])
def test_bytes_meet_casts_alone_and_nothing_else_changes(tmp_path, free):
    torch.manual_seed(0)
    module = SegmentModule(Body(), {}, (True, True), (True,)).eval()
    tensors = [torch.zeros(1, 20, 28, 3, dtype=torch.uint8) for _ in range(2)]
    height = torch.export.Dim("height", min=2, max=512)
    dynamic = [{1: height} if free else {} for _ in tensors]
    model = to_onnx(module, tensors, dynamic, ["out.0", "out.0.exact"], "a test")
    changed = run_passes(model, ["cast-at-edges"], "a test")
    assert bytes_outside_casts(model, tmp_path) and not bytes_outside_casts(changed, tmp_path)
    open_backend("onnxruntime")
    options = ort.SessionOptions()
    random = np.random.default_rng(1)
    feeds = {f"in.{i}": random.integers(0, 256, (1, 20, 28, 3), dtype=np.uint8) for i in range(2)}
    before, after = (
        ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
            None, feeds
        )
        for m in (model, changed)
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def bytes_outside_casts(model, folder):
    onnx.save(model, folder / "graph.onnx")
    return [op.type for op in operators(folder / "graph.onnx") if op.bytes and op.type != "Cast"]


def test_a_moved_output_that_is_also_asked_for_stays():
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0]),
            onnx.helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("x", TensorProto.UINT8, (2, 3))],
        [
            onnx.helper.make_tensor_value_info("y", TensorProto.UINT8, (3, 2)),
            onnx.helper.make_tensor_value_info("z", TensorProto.FLOAT, (3, 2)),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=10)
    changed = run_passes(model, ["cast-at-edges"], "a test")
    assert [output.name for output in changed.graph.output] == ["y", "z"]
    onnx.checker.check_model(changed, full_check=True)
