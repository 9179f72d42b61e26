import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes

NAME = "interleave-frames"


class Stacked(nn.Module):
    """Stacks a clip and multiples of it, and flattens two dimensions."""

    def __init__(self, count, axis=3, first=2):
        super().__init__()
        self.count, self.axis, self.first = count, axis, first

    def forward(self, x):
        clips = [x * (k + 1) for k in range(self.count)]
        return torch.stack(clips, self.axis).flatten(self.first, self.first + 1)


def exported(module, x):
    segment = SegmentModule(module.eval(), {}, (False,), (False,))
    return to_onnx(segment, [x], [{0: torch.export.Dim("batch")}], ["out.0"], "case")


def run(graph, x):
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def operators(graph):
    return [node.op_type for node in graph.graph.node]


@pytest.mark.parametrize("count", [2, 3])
def test_frames_stand_in_turn(count):
    x = torch.randn(2, 5, 4, 3, 6)
    graph = exported(Stacked(count), x)
    turned = run_passes(graph, [NAME], "case")
    assert operators(turned).count("Split") == count and "Reshape" not in operators(turned)
    np.testing.assert_array_equal(run(turned, x), Stacked(count)(x).numpy())


@pytest.mark.parametrize(
    "module",
    [
        Stacked(2, axis=2, first=1),  # channels in turn
        Stacked(2, axis=2, first=2),  # one clip after the other
        Stacked(32),  # too many frames
    ],
)
def test_others_stay(module):
    x = torch.randn(1, 5, 4, 3, 6)
    graph = exported(module, x)
    assert operators(run_passes(graph, [NAME], "case")) == operators(graph)
