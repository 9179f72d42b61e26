"""Transposed convolutions become convolutions for each phase, and the function stays the same."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes

NAME = "polyphase-transposed"


def rewritten(module, x):
    """By the pass; what it makes is compared with the module."""
    segment = SegmentModule(module.eval(), {}, (False,), (False,))
    graph = to_onnx(segment, [x], [{0: torch.export.Dim("batch")}], ["out.0"], "case")
    changed = run_passes(graph, [NAME], "case")
    session = ort.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(made, module(x).numpy(), atol=1e-5)
    return [node.op_type for node in changed.graph.node]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    stride=st.integers(2, 3),
    high=st.integers(0, 3),
    wide=st.integers(0, 3),
    groups=st.sampled_from([1, 2, 16]),
    bias=st.booleans(),
)
def test_any_geometry_that_enlarges_by_its_stride(stride, high, wide, groups, bias):
    sides = 2 * stride + high, 2 * stride + wide
    pads = [(side - stride + 1) // 2 for side in sides]
    more = [stride - side + 2 * pad for side, pad in zip(sides, pads, strict=True)]
    layer = nn.ConvTranspose2d(16, 16, sides, stride, pads, more, groups, bias)
    order = rewritten(nn.Sequential(layer, nn.ReLU()), torch.randn(2, 16, 5, 6))
    assert order.count("Conv") == stride**2 and "ConvTranspose" not in order


def test_one_convolution_for_each_phase():
    order = rewritten(nn.ConvTranspose2d(8, 16, 4, 2, 1), torch.randn(2, 8, 5, 6))
    assert order.count("Conv") == 4 and order.count("DepthToSpace") == 1 and "ConvTranspose" not in order


class Sum(nn.Module):
    """Three transposed convolutions that are added, and a fourth of which something else is read."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.ConvTranspose2d(8, 16, 4, 2, 1, bias=i == 0) for i in range(3))
        self.other = nn.ConvTranspose2d(8, 16, 6, 2, 2)

    def forward(self, x):
        a, b, c = (part(x) for part in self.parts)
        other = self.other(x)
        return (a + b + c).relu() * other.sigmoid() + other


def test_a_sum_is_put_in_place_once():
    order = rewritten(Sum(), torch.randn(1, 8, 5, 6))
    assert order.count("Conv") == 16 and order.count("DepthToSpace") == 2 and "ConvTranspose" not in order


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(8, 16, 3, 2, 1, 1),  # little overlap
        nn.ConvTranspose2d(8, 5, 4, 2, 1),  # few channels
        nn.ConvTranspose2d(8, 16, 4, 2),  # does not enlarge by two
        nn.ConvTranspose2d(8, 16, 5, 1, 2),
        nn.ConvTranspose2d(8, 16, 3, 2, 2, 1, dilation=2),
        nn.ConvTranspose2d(8, 16, (4, 6), (2, 3), (1, 1), (0, 0)),
    ],
)
def test_others_stay(layer):
    assert "ConvTranspose" in rewritten(layer, torch.randn(1, 8, 5, 6))
