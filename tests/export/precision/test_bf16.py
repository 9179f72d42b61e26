"""Graphs typed in bfloat16: at opset 22, and never with what TensorRT reads wrongly there."""

from __future__ import annotations

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from kept_bundles import compile_kept
from onnx import TensorProto
from torch import nn
from typed_graphs import Warping, exported, types

from edgeflow.export.precision.half import ALL_SINGLE, SAMPLES_GRID, single_note, to_half
from edgeflow.ir.bundle import open_bundle
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.runtime.check import check
from edgeflow.targets import load

pytestmark = pytest.mark.slow


class Plain(nn.Module):
    """Convolutions, a norm and a resize: no grid is sampled."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        inner = torch.nn.functional.instance_norm(self.first(x).relu())
        return self.last(torch.nn.functional.interpolate(inner, scale_factor=2.0, mode="bilinear"))


def opset(model):
    return next(entry.version for entry in model.opset_import if not entry.domain)


def computed_in_bf16(model):
    """Types of the operators, but for casts, that read or write bfloat16."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {
        i.name: i.type.tensor_type.elem_type
        for i in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    known |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    return {
        node.op_type
        for node in inferred.node
        if node.op_type != "Cast"
        and TensorProto.BFLOAT16 in {known.get(name) for name in (*node.input, *node.output)}
    }


def run(model, x):
    """By OpenVINO, which computes bfloat16 as it is typed."""
    core = ov.Core()
    graph = core.read_model(model.SerializeToString())
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (made,) = compiled([x.numpy()]).values()
    return made


def test_convolutions_are_bfloat16_at_an_opset_that_has_them():
    torch.manual_seed(0)
    x = torch.rand(1, 4, 24, 32)
    model = exported(Plain(), x)
    typed = to_half(model, frozenset(), "bf16")
    onnx.checker.check_model(typed, full_check=True)
    found, _ = types(typed)
    assert opset(typed) == 22 and not single_note(model, "bf16")
    assert found["Conv"] == {TensorProto.BFLOAT16}
    norms = [op for op in found if "Norm" in op or op.startswith("Reduce")]
    assert norms and not computed_in_bf16(typed) & set(norms)
    wanted, made = run(model, x), run(typed, x)
    assert 0 < np.abs(made - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_graph_that_samples_a_grid_stays_at_its_opset_in_single_precision():
    x = torch.rand(1, 4, 24, 32)
    model = exported(Warping(), x)
    assert single_note(model, "bf16") == SAMPLES_GRID and not single_note(model, "fp16")
    typed = to_half(model, frozenset(("in.0", "out.0")), "bf16", single=True)
    onnx.checker.check_model(typed, full_check=True)
    assert opset(typed) == 19 and not computed_in_bf16(typed)
    ports = {i.type.tensor_type.elem_type for i in (*typed.graph.input, *typed.graph.output)}
    assert ports == {TensorProto.BFLOAT16}, "its cut tensors are read and written in bfloat16 all the same"


def test_an_image_is_single_until_the_first_convolution():
    from edgeflow.export.lowering.segment import SegmentModule, to_onnx

    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image):
            return self.conv(image - 0.43)

    image = torch.randint(0, 256, (1, 16, 20, 3), dtype=torch.uint8)
    segment = SegmentModule(Centred(), {}, (True,), (False,)).eval()
    model = to_onnx(segment, [image], [{}], ["out.0"], "a test", "native")
    found, _ = types(to_half(model, frozenset(("out.0",)), "bf16"))
    assert TensorProto.BFLOAT16 not in found["Sub"] and found["Conv"] == {TensorProto.BFLOAT16}


def test_a_plugin_computes_in_single_precision():
    class Deform(nn.Module):
        def __init__(self, after):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(6, 4, 3, 3))
            self.after = after

        def forward(self, x, offset, mask):
            return self.after(deform_conv2d(x, offset, self.weight, padding=1, mask=mask))

    inputs = [torch.rand(shape) for shape in ((1, 4, 9, 11), (1, 18, 9, 11), (1, 9, 9, 11))]
    assert single_note(exported(Deform(nn.ReLU()), *inputs, form="plugin"), "bf16") == ALL_SINGLE
    model = exported(Deform(nn.Conv2d(6, 2, 1)), *inputs, form="plugin")
    assert not single_note(model, "bf16")
    typed = to_half(model, frozenset(), "bf16")
    onnx.checker.check_model(typed, full_check=True)
    found, _ = types(typed)
    assert found["EdgeflowDeformConv2d"] == {TensorProto.FLOAT} and found["Conv"] == {TensorProto.BFLOAT16}
    assert [(entry.domain, entry.version) for entry in typed.opset_import] == [("", 22), ("edgeflow", 1)]


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        *(("Shortcut", "chained"), ("Patchwork", "chained"), ("Frames", "chained")),
        *(("Shortcut", "routes"), ("Patchwork", "routes"), ("Gated", "routes")),
    ],
)
def test_bundles_pass_their_checks(tmp_path, name, strategy):
    from routed_models import small

    path = tmp_path / "bf16.edgeflow"
    compile_kept(
        small(name), load("desktop-gpu").at("bf16"), path, reference={"model": name}, strategy=strategy
    )
    bundle = open_bundle(path)
    report = check(bundle, library="openvino")
    assert report.passed and not any(clip.flips for clip in report.clips), report
    kinds = {entry.precision for entry in bundle.manifest.graphs.values()}
    assert "bf16" in kinds
    for entry in bundle.manifest.graphs.values():
        graph = onnx.load(path / entry.file)
        assert (entry.precision == "bf16") == (opset(graph) == 22) == bool(computed_in_bf16(graph))
    plans = bundle.manifest.plans.values()
    ports = [p for plan in plans for s in plan.stages for g in s.graphs for p in (*g.inputs, *g.outputs)]
    assert {port.dtype for port in ports} <= {"uint8", "float32", "bfloat16"}


def test_the_standard_form_of_a_deformable_operator_stays_single_and_says_why(tmp_path):
    from plugin_model import Deforming

    path = tmp_path / "standard.edgeflow"
    target = load("jetson-orin").at("bf16").with_operators("standard")
    compile_kept(Deforming().eval(), target, path, reference={"model": "mine"})
    bundle = open_bundle(path)
    (entry,) = bundle.manifest.graphs.values()
    assert (entry.precision, entry.note) == ("fp32", SAMPLES_GRID)
    assert opset(onnx.load(path / entry.file)) < 20
    assert not [gap for gap in bundle.manifest.provenance["support"]["gaps"] if gap["fatal"]]
    assert check(bundle, library="openvino").passed


def test_releases_that_cannot_read_a_bundle_are_named_with_what_to_do(tmp_path):
    from routed_models import small

    path = tmp_path / "bf16.edgeflow"
    compile_kept(small("Shortcut"), load("jetson-orin").at("bf16"), path, reference={"model": "mine"})
    (gap,) = open_bundle(path).manifest.provenance["support"]["gaps"]
    assert (gap["operator"], gap["versions"], gap["fatal"]) == ("opset 22", ["10.3"], True)
    assert gap["advice"] == "use TensorRT 10.6 or later, or export with --precision fp16"
