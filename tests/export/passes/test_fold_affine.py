import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.models.fan.per_length import specialise

NAME = "fold-affine"


def exported(module, x):
    segment = SegmentModule(module.eval(), {}, (False,), (False,))
    return to_onnx(segment, [x], [{}], ["out.0"], "case")


def run(graph, x):
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def operators(graph):
    return [node.op_type for node in graph.graph.node]


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 2, 128])
@pytest.mark.parametrize("rank", [2, 3])
def test_norms_and_alterations_become_part_of_their_convolutions(groups, rank):
    torch.manual_seed(groups)
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if rank == 2 else (nn.Conv3d, nn.BatchNorm3d)
    module = nn.Sequential(conv(128, 128, 3, 1, 1, groups=groups, bias=groups > 1), norm(128), nn.ReLU())
    length = specialise(module, 2, lambda name: True)
    length.position = 1
    for tensor in [*module[1].norms[1].parameters(), *module[0].thetas[1:]]:
        nn.init.uniform_(tensor, 0.2, 0.8)
    module[1].norms[1].running_mean.uniform_(-1, 1)
    module[1].norms[1].running_var.uniform_(0.5, 2)
    x = torch.randn(2, 128, *[5] * rank)
    graph = exported(module, x)
    assert {"Mul", "Add"} <= set(operators(graph))  # so that lengths share the weight on disk
    folded = run_passes(graph, [NAME], "case")
    assert operators(folded) == ["Conv", "Relu"]
    with torch.no_grad():
        np.testing.assert_allclose(run(folded, x), module(x).numpy(), atol=1e-4)


class Between(nn.Module):
    """What may not be folded: a scale per column, an output that is read twice, a shift by an input."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.kind = kind
        self.register_buffer("columns", torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.conv(x)
        if self.kind == "columns":
            return made * self.columns
        if self.kind == "twice":
            return made * 2 + made.relu()
        return made + x


@pytest.mark.parametrize("kind", ["columns", "twice", "input"])
def test_what_is_no_scale_of_channels_stays(kind):
    torch.manual_seed(0)
    graph = exported(Between(kind), torch.rand(1, 4, 4, 4))
    assert operators(run_passes(graph, [NAME], "case")) == operators(graph)
    onnx.checker.check_model(graph)
