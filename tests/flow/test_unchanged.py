"""Weights that forward hooks compute: traced, exported, and the model is as it was."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeflow.export.lowering.digest import model_digest
from edgeflow.export.lowering.segment import to_onnx
from edgeflow.flow import Axis, Image, RoutedModule
from edgeflow.flow.trace import trace

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    HOOKED = {
        "weight_norm": lambda: nn.utils.weight_norm(nn.Conv2d(3, 3, 3, padding=1)),
        "spectral_norm": lambda: nn.utils.spectral_norm(nn.Conv2d(3, 3, 3, padding=1)),
    }


class Segment(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, *inputs):
        return (self.conv(*inputs),)


class Hooked(RoutedModule):
    inputs, outputs, on = (Image("frame"),), (Image("out"),), Axis(False, True)

    def __init__(self, make):
        super().__init__()
        self.score = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        self.conv = make()

    def run(self, x, on):
        return self.conv(x) if on else x

    def flow(self, f, frame):
        tiles = f.tile(frame, size=32, halo=4)
        return f.stitch(f.call(self.run, tiles, on=f.route(tiles, on=f.call(self.score, tiles)).on))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", HOOKED)
def test_weights_that_hooks_set_are_traced_and_left_as_they_were(kind):
    torch.manual_seed(0)
    model = Hooked(HOOKED[kind]).eval()
    before, weight = model_digest(model), model.conv.weight
    trace(model, {"height": 48, "width": 64})
    assert model.conv.weight is weight
    assert model_digest(model) == before


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", HOOKED)
def test_weights_that_hooks_set_are_exported(kind):
    torch.manual_seed(0)
    conv = HOOKED[kind]().eval()
    example = torch.rand(1, 3, 12, 16)
    graph = to_onnx(Segment(conv), [example], [{}], ["out.0"], "segment conv")
    (made,) = ort.InferenceSession(graph.SerializeToString()).run(None, {"in.0": example.numpy()})
    assert np.abs(made - conv(example).detach().numpy()).max() < 1e-5
