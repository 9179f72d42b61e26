"""Graphs typed in half precision: where half would show, single precision stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from kept_bundles import compile_kept
from onnx import TensorProto
from torch import nn
from typed_graphs import Warping, exported, types

from edgeflow.export.precision.half import half_values, to_half
from edgeflow.ir.bundle import open_bundle
from edgeflow.ops.cost_volume import cost_volume
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.ops.warp import warp
from edgeflow.runtime import Session
from edgeflow.runtime.check import check
from edgeflow.targets import load

pytestmark = pytest.mark.slow


def test_convolutions_are_half_and_coordinates_and_statistics_are_not():
    torch.manual_seed(0)
    x = torch.rand(1, 4, 24, 32)
    model = exported(Warping(), x)
    typed = to_half(model, frozenset())
    found, _ = types(typed)
    assert found["Conv"] == {TensorProto.FLOAT16}
    assert found["GridSample"] == {TensorProto.FLOAT}
    norms = [op for op in found if "Norm" in op or op.startswith("Reduce")]
    assert norms and all(TensorProto.FLOAT16 not in found[op] for op in norms)
    assert typed.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    (wanted,), (made,) = run(model, x), run(typed, x)
    assert np.abs(made - wanted).max() < 0.02 * np.abs(wanted).max()


def test_sums_of_coordinates_stay_exact():
    class Shift(nn.Module):
        def forward(self, x, flow):
            return warp(x, flow + 0.25)

    x = torch.arange(1500.0).view(1, 1, 1, 1500).repeat(1, 1, 2, 1) / 1500
    flow = torch.zeros(1, 2, 2, 1500)
    model = exported(Shift(), x, flow)
    (wanted,), (made,) = run(model, x, flow), run(to_half(model, frozenset()), x, flow)
    assert np.abs(made - wanted)[..., :-2].max() < 1e-6, "a quarter pixel at 1500 is lost in half precision"


def test_a_bound_with_a_slack_stays_one():
    """A warp's last column lies at width - 1 and inside of width - 1 + 0.001, which are one number in half precision."""

    class Warp(nn.Module):
        def forward(self, x, flow):
            return warp(x, flow)

    x, flow = torch.ones(1, 1, 8, 64), torch.zeros(1, 2, 8, 64)
    (made,) = run(to_half(exported(Warp(), x, flow), frozenset()), x, flow)
    assert (made == 1).all()


def test_cut_tensors_are_half_and_named_as_before():
    x = torch.rand(1, 4, 24, 32)
    typed = to_half(exported(Warping(), x), frozenset(("in.0", "out.0")))
    assert [i.name for i in (*typed.graph.input, *typed.graph.output)] == ["in.0", "out.0"]
    assert {i.type.tensor_type.elem_type for i in (*typed.graph.input, *typed.graph.output)} == {
        TensorProto.FLOAT16
    }


def test_a_graph_that_decides_computes_in_single():
    x = torch.rand(1, 4, 24, 32)
    typed = to_half(exported(Warping(), x), frozenset(("in.0",)), single=True)
    found, _ = types(typed)
    assert found["Conv"] == {TensorProto.FLOAT}


def test_a_plugin_takes_half_values_and_exact_offsets():
    class Deform(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(6, 4, 3, 3))

        def forward(self, x, offset, mask):
            return deform_conv2d(x, offset, self.weight, padding=1, mask=mask)

    shapes = (1, 4, 9, 11), (1, 18, 9, 11), (1, 9, 9, 11)
    typed = to_half(exported(Deform(), *map(torch.rand, shapes), form="plugin"), frozenset())
    _, known = types(typed)
    (node,) = [node for node in typed.graph.node if node.op_type == "EdgeflowDeformConv2d"]
    assert [known[name] for name in node.input] == [
        TensorProto.FLOAT16,
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
    ]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert (attributes["plugin_version"], attributes["plugin_namespace"]) == (b"1", b"edgeflow")
    assert attributes["pads"] == [1, 1, 1, 1] and attributes["offset_group"] == 1


@pytest.mark.parametrize(("single", "held"), [(False, TensorProto.FLOAT16), (True, TensorProto.FLOAT)])
def test_a_cost_volume_is_half_but_where_it_decides(single, held):
    class Match(nn.Module):
        def forward(self, first, second):
            return cost_volume(first, second, 2)

    frames = torch.rand(1, 4, 9, 11), torch.rand(1, 4, 9, 11)
    typed = to_half(exported(Match(), *frames, form="plugin"), frozenset(), single=single)
    onnx.checker.check_model(typed, full_check=True)
    found, known = types(typed)
    (node,) = [node for node in typed.graph.node if node.op_type == "EdgeflowCostVolume"]
    assert found["EdgeflowCostVolume"] == {known[node.output[0]]} == {held}


@pytest.mark.parametrize("name", ["Shortcut", "Patchwork", "Gated", "Frames"])
@pytest.mark.parametrize("strategy", ["chained", "routes"])
def test_half_bundles_pass_their_checks(tmp_path, name, strategy):
    from routed_models import small

    path = tmp_path / "half.edgeflow"
    target = load("desktop-gpu-ort").at("fp16")
    compile_kept(small(name), target, path, reference={"model": name}, strategy=strategy)
    bundle = open_bundle(path)
    for library in ("onnxruntime", "openvino"):
        report = check(bundle, library=library)
        assert report.passed, report
    kinds = {entry.precision for entry in bundle.manifest.graphs.values()}
    assert "fp16" in kinds
    for plan in bundle.manifest.plans.values():
        halves = half_values(plan)
        assert not halves & {value.name for value in plan.values if value.image}
        ports = [port for stage in plan.stages for g in stage.graphs for port in (*g.inputs, *g.outputs)]
        assert {port.value for port in ports if port.dtype == "float16"} <= halves


def test_a_plugin_bundle_says_where_it_can_run(tmp_path):
    from plugin_model import Deforming

    path = tmp_path / "plugin.edgeflow"
    compile_kept(Deforming().eval(), load("jetson-orin"), path, reference={"model": "mine"})
    entry = next(iter(open_bundle(path).manifest.graphs.values()))
    assert entry.plugins == ("EdgeflowAdaBD", "EdgeflowCostVolume", "EdgeflowDeformConv2d")
    assert (path / "plugins" / "CMakeLists.txt").is_file()
    from edgeflow.ir.errors import BackendError

    with pytest.raises(
        BackendError, match="TensorRT plugins: to run the bundle by onnxruntime, export it with"
    ):
        Session(path, library="onnxruntime").prepare()


def run(model, *tensors):
    options = ort.SessionOptions()
    from edgeflow.runtime.backends import open_backend

    open_backend("onnxruntime")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {i.name: t.numpy() for i, t in zip(session.get_inputs(), tensors, strict=True)}
    return session.run(None, feeds)
