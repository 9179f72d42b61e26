"""Frames of any size: what holds for some sizes only is refused at export, in words."""

from __future__ import annotations

import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.export.lowering.segment import to_onnx
from edgeflow.ir.errors import ExportError


class Segment(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, *inputs):
        return (self.function(self.conv(*inputs)),)


def exported(function, portrait=False, batch=None):
    sides = {2: torch.export.Dim("height", min=2, max=16384), 3: torch.export.Dim("width", min=2, max=16384)}
    example = torch.zeros(1, 3, 160, 96) if portrait else torch.zeros(1, 3, 96, 160)
    if batch:
        sides, example = {0: torch.export.Dim("batch", min=1, max=4096)}, torch.zeros(batch, 3, 32, 32)
    return to_onnx(Segment(function), [example], [sides], ["out.0"], "segment look", portrait=portrait)


def free_sides(graph):
    """Names of the free dimensions of a graph's input."""
    return [dim.dim_param for dim in graph.graph.input[0].type.tensor_type.shape.dim if dim.dim_param]


def padded_and_joined(x):
    """What image restoration networks do, and a mean over frames that asks how its input lies in memory."""
    height, width = x.shape[2:]
    y = F.pad(x, (0, (2 - width % 2) % 2, 0, (2 - height % 2) % 2))
    y = F.interpolate(F.avg_pool2d(y, 2), scale_factor=2) + y
    y = y * F.adaptive_avg_pool2d(F.avg_pool2d(y, 2), 1)
    return y[..., :height, :width]


def warped(x):
    down, across = (torch.linspace(-1.0, 1.0, side, dtype=x.dtype) for side in x.shape[2:])
    y, x0 = torch.meshgrid(down, across, indexing="ij")
    return F.grid_sample(x, torch.stack((x0 * 0.9, y), -1)[None], align_corners=True)


def turned(x):
    grids = [
        F.affine_grid(torch.tensor([[[1.0, 0.1, 0.02], [-0.1, 1, 0]]]), list(x.shape), align_corners=corners)
        for corners in (True, False)
    ]
    return sum(F.grid_sample(x, grid, align_corners=True) for grid in grids)


def halves(x):
    return F.interpolate(F.max_pool2d(x, 2), scale_factor=2) + x


REFUSED = {
    "a branch on the width": (
        lambda x: F.avg_pool2d(x, 4) if x.shape[3] > 640 else x,
        r"a frame's width from 0 to 640 pixels, and computes something else beyond",
    ),
    "a size as a number": (lambda x: x / float(x.shape[3]), r"makes the frame's width a Python number"),
    "a constant for odd widths": (
        lambda x: x * torch.tensor([1.0 if x.shape[3] % 2 else 2.0]),
        r"frames whose width is a multiple of 2 only",
    ),
    "half a side as a number": (
        lambda x: F.interpolate(x, size=(int(x.shape[2] * 0.5), int(x.shape[3] * 0.5))),
        r"frames whose width is a multiple of 160 only",
    ),
    "groups of eight": (
        lambda x: F.pixel_unshuffle(x, 8),
        r"height is a multiple of 8 and width is a multiple of 8 only",
    ),
    "a sum of sizes that do not fit": (
        halves,
        r"height is a multiple of 2 and width is a multiple of 2 only",
    ),
    "a branch on the shape": (
        lambda x: x * 2 if x.shape[2] == x.shape[3] else x,
        r"not all sizes of frames, for example not 64x64",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_frozen_at_some_sizes_is_refused(name):
    function, reason = REFUSED[name]
    with pytest.raises(ExportError, match=f"segment look: .*{reason}.*--size WIDTHxHEIGHT"):
        exported(function)


TAKEN = {
    "a ramp of as many steps as rows": lambda x: x * torch.linspace(0, 1, x.shape[2])[:, None],
    "sampled on a ramp": warped,
    "turned": turned,
    "padded, shrunk, enlarged, joined and cut": padded_and_joined,
    "a ramp that follows the size": lambda x: x * torch.arange(x.shape[2])[:, None] / x.shape[2],
    "padded to a multiple": lambda x: F.pad(x, (0, -x.shape[3] % 8, 0, -x.shape[2] % 8)),
    "shrunk to one size": lambda x: F.interpolate(x, (8, 8), mode="bilinear"),
    "mirrored at the border": lambda x: F.pad(x, (3, 3, 3, 3), mode="reflect"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("portrait", [False, True])
def test_what_follows_the_size_is_exported(name, portrait):
    assert free_sides(exported(TAKEN[name], portrait)) == ["height", "width"]


def test_a_model_may_turn_portrait_frames():
    """Landscape and portrait frames are traced apart."""
    for portrait in (False, True):
        graph = exported(lambda x: x.transpose(2, 3) + 0.0 if x.shape[2] > x.shape[3] else x, portrait)
        assert free_sides(graph) == ["height", "width"]
        assert ("Transpose" in {node.op_type for node in graph.graph.node}) == portrait


@pytest.mark.parametrize("batch", [2, 3])
def test_a_fixed_number_of_regions_is_refused(batch):
    with pytest.raises(ExportError, match=r"keep the first dimension free"):
        exported(
            lambda x: (
                x * torch.ones(x.shape[0] if x.shape[0] != batch else batch, 1, 1, 1).view(batch, 1, 1, 1)
            ),
            batch=batch,
        )


@pytest.mark.slow
@pytest.mark.parametrize("function", [TAKEN["a ramp of as many steps as rows"], warped, turned])
@pytest.mark.parametrize("size", [(64, 64), (67, 131), (64, 200)])
def test_ramps_have_the_values_of_torchs(function, size):
    segment, frame = Segment(function), torch.rand(1, 3, *size)
    torch.manual_seed(0)
    sides = {2: torch.export.Dim("height", min=2, max=16384), 3: torch.export.Dim("width", min=2, max=16384)}
    graph = to_onnx(segment, [torch.zeros(1, 3, 96, 160)], [sides], ["out.0"], "segment look")
    (made,) = ort.InferenceSession(graph.SerializeToString()).run(None, {"in.0": frame.numpy()})
    assert (torch.from_numpy(made) - segment(frame)[0]).abs().max() < 1e-4
