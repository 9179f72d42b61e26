import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes

NAME = "clip-pictures"


def exported(module, x):
    segment = SegmentModule(module.eval(), {}, (False,), (False,))
    return to_onnx(segment, [x], [{0: torch.export.Dim("batch")}], ["out.0"], "case")


def run(graph, x):
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def kernels(graph):
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    return [shapes[node.input[1]] for node in graph.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "geometry", [{"padding": (0, 1, 1)}, {"stride": (1, 2, 1), "dilation": (1, 2, 1), "padding": (0, 2, 0)}]
)
def test_filters_of_single_frames_become_filters_of_pictures(bias, geometry):
    module = nn.Conv3d(6, 6, (1, 3, 3), groups=6, bias=bias, **geometry)
    x = torch.randn(2, 6, 5, 9, 8)
    graph = run_passes(exported(module, x), [NAME], "case")
    assert kernels(graph) == [(30, 1, 3, 3)]
    with torch.no_grad():
        np.testing.assert_allclose(run(graph, x), module(x).numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("geometry", [{"padding": (1, 0, 0)}, {"stride": (2, 1, 1), "dilation": (2, 1, 1)}])
def test_filters_over_frames_have_pixels_as_columns(bias, geometry):
    module = nn.Sequential(nn.Conv3d(6, 4, (3, 1, 1), bias=bias, **geometry), nn.ReLU())
    x = torch.randn(2, 6, 7, 9, 8)
    graph = run_passes(exported(module, x), [NAME], "case")
    assert kernels(graph) == [(4, 6, 3, 1)]
    order = [node.op_type for node in graph.graph.node]
    assert order[order.index("Conv") + 1] == "Relu"  # which the library fuses
    with torch.no_grad():
        np.testing.assert_allclose(run(graph, x), module(x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv3d(6, 4, (3, 1, 1), stride=(1, 2, 2)),  # over frames, of every second pixel
        nn.Conv3d(6, 6, (3, 3, 3), padding=1, groups=6),  # of several frames
        nn.Conv3d(6, 6, (1, 3, 3), groups=2),  # of several channels
        nn.Conv3d(6, 6, (1, 3, 3), stride=(2, 1, 1), groups=6),  # of every second frame
        nn.Conv3d(6, 12, (1, 3, 3), groups=6),  # two of a channel: others follow than frames
    ],
)
def test_others_stay(module):
    x = torch.randn(1, 6, 5, 9, 8)
    graph = exported(module, x)
    assert kernels(run_passes(graph, [NAME], "case")) == kernels(graph)
