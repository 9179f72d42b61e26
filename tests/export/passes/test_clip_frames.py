"""Convolutions over frames and pixels become sums of convolutions of pictures, and the function stays the same."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.export.passes.clip_frames import MOST

NAME = "clip-frames"


def exported(module, *inputs):
    size = len(inputs)
    segment = SegmentModule(module.eval(), {}, (False,) * size, (False,))
    free = [{0: torch.export.Dim("batch")} for _ in inputs]
    return to_onnx(segment, list(inputs), free, ["out.0"], "case")


def run(graph, *inputs):
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {given.name: x.numpy() for given, x in zip(session.get_inputs(), inputs, strict=True)}
    return session.run(None, feed)[0]


def rewritten(module, *inputs):
    """By the pass; what it makes is compared with the module."""
    graph = exported(module, *inputs)
    changed = run_passes(graph, [NAME], "case")
    with torch.no_grad():
        np.testing.assert_allclose(run(changed, *inputs), module(*inputs).numpy(), atol=2e-5)
    return changed, changed is not graph


def kernel_ranks(graph):
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.graph.initializer}
    return {ranks[n.input[1]] - 2 for n in graph.graph.node if n.op_type in ("Conv", "ConvTranspose")}


def operators(graph):
    return [node.op_type for node in graph.graph.node]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    kernel=st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(2, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    dilation=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    frames=st.integers(7, MOST - 1),  # padding may add one
    transposed=st.booleans(),
)
def test_any_geometry(kernel, stride, dilation, padding, groups, bias, frames, transposed):
    if transposed:  # few frames become many; with gaps in the filter some would be of nothing
        kind, frames, dilation = nn.ConvTranspose3d, 2, 1
    else:
        kind = nn.Conv3d
    conv = kind(4, 16, kernel, stride, padding, dilation=dilation, groups=groups, bias=bias)
    changed, was = rewritten(conv, torch.randn(2, 4, frames, 7, 8))
    assert was and kernel_ranks(changed) == {2}


class UNet(nn.Module):
    """Pictures that are stacked; a residual, a gate of the whole clip, a skip that is joined; one picture in the end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv3d(3, 16, 3, (1, 2, 2), 1)
        self.norm = nn.BatchNorm3d(16)
        self.slopes = nn.PReLU(16)
        self.block = nn.Conv3d(16, 16, 3, padding=1)
        self.share = nn.Conv3d(16, 16, 1)
        self.up = nn.ConvTranspose3d(32, 4, (3, 4, 4), (1, 2, 2), 1)
        self.fuse = nn.Conv3d(4, 2, (3, 1, 1))
        for numbers in (self.norm.running_mean, self.norm.weight.data, self.slopes.weight.data):
            numbers.uniform_(0.2, 0.8)

    def forward(self, *pictures):
        x = self.slopes(self.stem(torch.stack(pictures, 2)))
        y = self.block(x)
        y = y * self.share(y.mean((2, 3, 4), keepdim=True)).sigmoid()
        y = self.norm(y) + x
        y = torch.cat([nn.functional.leaky_relu(y, 0.2), x], 1)
        return self.fuse(self.up(y)).squeeze(2)


def test_a_network_stays_frames_from_end_to_end():
    changed, was = rewritten(UNet(), *(torch.randn(2, 3, 8, 12) for _ in range(3)))
    assert was and kernel_ranks(changed) == {2}
    assert not {"Split", "Unsqueeze", "Squeeze"} & set(operators(changed))  # no clip is made or taken apart


class Between(nn.Module):
    """A clip that comes as such, and is read otherwise as well."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv3d(3, 16, 3, padding=1), nn.Conv3d(16, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.rand(16, 5, 1, 1))

    def forward(self, clip):
        x = self.first(clip) * self.scale  # other for each frame
        return self.second(x).cumsum(2) + x.amax(1, keepdim=True)


def test_clips_are_joined_where_they_are_read_as_clips():
    changed, was = rewritten(Between(), torch.randn(2, 3, 5, 6, 7))
    assert was and kernel_ranks(changed) == {2}


@pytest.mark.parametrize(
    ("module", "frames"),
    [
        (nn.Conv3d(3, 16, 3, padding=1), MOST + 1),  # too many frames
        (nn.Conv3d(3, 15, 3, padding=1), 5),  # few channels
        (nn.Conv3d(3, 16, (3, 1, 1)), 5),  # over frames alone
        (nn.Conv3d(3, 16, (1, 3, 3)), 5),  # of single frames
        (nn.Conv3d(3, 16, 3, padding=(3, 1, 1)), 5),  # a frame of nothing but padding
        (nn.Conv2d(3, 16, 3), None),
    ],
)
def test_others_stay(module, frames):
    sides = (6, 7) if frames is None else (frames, 6, 7)
    _, was = rewritten(module, torch.randn(2, 3, *sides))
    assert not was
