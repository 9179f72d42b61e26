from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.export.sample import moving_picture
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.plan import Port
from edgeflow.ops.hetconv import HetConv
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.check import check
from edgeflow.targets import load

NAME = "fold-parallel-conv"


def exported(module, channels=8, stride=1):
    x = torch.rand(1, channels, 6, 9)
    segment = SegmentModule(module.eval(), {}, (False,), (False,))
    return to_onnx(segment, [x], [{}], ["out.0"], "case"), x


def operators(graph):
    return [node.op_type for node in graph.graph.node]


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_hetconv_becomes_one_convolution(parts, library, tmp_path):
    torch.manual_seed(parts)
    module = nn.Sequential(HetConv(8, 12, parts), nn.ReLU(), HetConv(12, 8, parts))
    graph, x = exported(module)
    folded = run_passes(graph, [NAME], "case")
    assert operators(folded) == ["Conv", "Relu", "Conv"]
    path = tmp_path / "folded.onnx"
    path.write_bytes(folded.SerializeToString())
    ports = Port("x", "in.0", x.shape[1:], "float32"), Port("y", "out.0", (8, 6, 9), "float32")
    made = np.empty((1, 8, 6, 9), np.float32)
    open_backend(library).load(path, ports[:1], ports[1:], {}).run([x.numpy()], [made])
    with torch.no_grad():
        np.testing.assert_allclose(made, module(x).numpy(), atol=2e-6)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.a(x) + self.b(x.relu())


class ReadTwice(TwoInputs):
    def forward(self, x):
        made = self.a(x)
        return (made + self.b(x)) * made


class Unpadded(TwoInputs):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x):
        return self.a(x) - self.b(x)


@pytest.mark.parametrize("module", [TwoInputs, ReadTwice, Unpadded])
def test_other_sums_stay(module):
    graph, _ = exported(module())
    assert run_passes(graph, [NAME], "case") is graph


class Net(RoutedModule):
    inputs = (Image("image", 24, 40),)
    outputs = (Image("made"),)

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.het, self.last = nn.Conv2d(3, 8, 1), HetConv(8, 8), nn.Conv2d(8, 3, 1)

    def flow(self, f, image):
        return f.call(self.last, f.call(self.het, f.call(self.first, image)))


@pytest.mark.parametrize("fold", [True, False])
def test_what_is_timed_faster_is_taken(fold, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "edgeflow.export.lowering.trials.time_graph", lambda graph, *_: (len(graph.graph.node) > 2) == fold
    )
    target = replace(load("cpu"), batches=(1,))
    frames = [moving_picture(24, 40, time) for time in range(3)]
    options = {"reference": {}, "strategy": "chained", "frames": frames}
    made = compile_model(Net().eval(), target, tmp_path / "net.edgeflow", **options)
    (het,) = (entry for entry in made.manifest.graphs.values() if entry.segments == ("het",))
    graph = onnx.load(made.path / het.file, load_external_data=False)
    assert operators(graph).count("Conv") == (1 if fold else 3)
    assert check(open_bundle(made.path)).passed


def test_untimed_it_stays_three(tmp_path):
    made = compile_model(
        Net().eval(), load("cpu"), tmp_path / "net.edgeflow", reference={}, strategy="routes"
    )
    (entry,) = made.manifest.graphs.values()
    assert operators(onnx.load(made.path / entry.file, load_external_data=False)).count("Conv") == 5
