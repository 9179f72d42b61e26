"""A weight that a convolution and a transposed one share is read rightly by both."""

import torch
import torch.nn.functional as F
from operator_outcomes import RIGHT, Segment, outcomes

from edgeflow.export.lower import to_onnx
from edgeflow.export.passes import run_passes


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
