"""Segments joined into one graph: outputs that are constant, or an input as it is."""

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Eager, Flow, Image, RoutedModule, Tensor
from edgeflow.flow.tensors import to_tensor
from edgeflow.runtime import Session
from edgeflow.targets import load


class Constant(RoutedModule):
    """The first segment's second output is one whatever it reads; the second hands it on."""

    inputs = (Image("frame", 32, 32),)
    outputs = (Image("picture", 32, 32), Tensor("one", (1,)))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f: Flow, frame):
        x, one = f.call(self.begin, frame)
        return f.call(self.end, x, one)

    def begin(self, x):
        return torch.sigmoid(self.layer(x)), torch.ones_like(x[:, :1, 0, 0])

    def end(self, x, one):
        return torch.sigmoid(self.layer(x)) * one[:, :, None, None], one


@pytest.mark.parametrize("plan", ["routes", "chained"])
@pytest.mark.parametrize(("target", "library"), [("cpu", "onnxruntime"), ("openvino-cpu", "openvino")])
def test_an_output_may_be_constant_and_handed_on(tmp_path, plan, target, library):
    model, path = Constant().eval(), tmp_path / "constant.edgeflow"
    compile_kept(model, load(target), path, reference={}, strategy=plan)
    frame = np.ascontiguousarray(moving_picture(32, 32, 0))
    wanted = Eager(model)(to_tensor(frame)).outputs
    made = Session(path, library=library, exact=True).run(frame).outputs
    for ours, theirs in zip(made, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-5)
