"""A weight that a convolution and a transposed one share is read rightly by both."""

import torch
import torch.nn.functional as F
from operator_outcomes import RIGHT, Segment, outcomes
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.lowering.segment import to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.flow import Image, RoutedModule, Tensor
from edgeflow.targets import load


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(8, 8, 3, 1, 1, bias=False)

    def forward(self, *tensors):
        return (F.conv_transpose2d(self.conv(tensors[0]).relu(), self.conv.weight, padding=1),)


def test_both_libraries_compute_tied_convolutions():
    torch.manual_seed(0)
    for outcome in outcomes(Tied(), [torch.randn(1, 8, 20, 28)]).values():
        assert outcome.kind == RIGHT, outcome.why


def test_only_what_is_shared_is_copied():
    x = torch.randn(1, 8, 20, 28)
    tied = to_onnx(Tied(), [x], [{}], ["out.0"], "segment")
    untied = run_passes(tied, ["untie-weights"], "segment")
    assert len(untied.graph.initializer) == len(tied.graph.initializer) + 1
    own = Segment(torch.nn.ConvTranspose2d(8, 4, 3))
    alone = to_onnx(own, [x], [{}], ["out.0"], "segment")
    assert run_passes(alone, ["untie-weights"], "segment") is alone


def test_a_bundle_keeps_them_apart_on_openvino(tmp_path):
    class Model(RoutedModule):
        inputs = (Image("frame", 16, 24),)
        outputs = (Tensor("out", (8, 16, 24)),)

        def __init__(self):
            super().__init__()
            self.enter = nn.Conv2d(3, 8, 3, 1, 1)
            self.conv = nn.Conv2d(8, 8, 3, 1, 1, bias=False)

        def flow(self, f, frame):
            return f.call(self.there_and_back, frame)

        def there_and_back(self, x):
            return F.conv_transpose2d(torch.relu(self.conv(self.enter(x))), self.conv.weight, padding=1)

    made = compile_model(Model().eval(), load("openvino-cpu"), tmp_path / "b.edgeflow", reference={})
    assert made.manifest.provenance["compared"]["compared"]
    assert made.manifest.provenance["compared"]["largest_error"] < 1e-5
