"""Convolutions in groups as dense ones: the same function, where it was timed to be faster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.passes import run_passes
from edgeflow.export.precision.qdq import guest_session, layers_of, quantised, ranged, scheme_of
from edgeflow.export.sample import moving_picture
from edgeflow.flow import Image, RoutedModule
from edgeflow.runtime import Session, open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load

NAME = "dense-groups"


class Shared(nn.Module):
    """One convolution in groups that is used twice, beside others; ends in two tensors that are joined."""

    def __init__(self, channels=32, groups=4):
        super().__init__()
        torch.manual_seed(groups)
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.unit = nn.Conv2d(channels, channels, 3, padding=1, groups=groups)
        self.last = nn.Conv2d(2 * channels, 4, 1)

    def forward(self, x):
        first = self.first(x)
        once = self.unit(first).relu()
        return torch.pixel_shuffle(self.last(torch.cat([first, self.unit(once)], 1)), 2)


def exported(module):
    x = torch.rand(1, 3, 10, 12)
    segment = SegmentModule(module.eval(), {}, (False,), (False,))
    return to_onnx(segment, [x], [{}], ["out.0"], "case"), x.numpy()


def at_int8(graph, x):
    source = ranged(graph, ["in.0"], [(x,)])
    return quantised(source, layers_of(source.graph), scheme_of("onnxruntime"))


def groups(graph):
    attributes = [a for node in graph.graph.node if node.op_type == "Conv" for a in node.attribute]
    return [attribute.i for attribute in attributes if attribute.name == "group"]


def run(graph, x):
    return guest_session(graph.SerializeToString()).run(None, {"in.0": x})[0]


def test_in_float_it_makes_the_same():
    graph, x = exported(Shared())
    dense = run_passes(graph, [NAME], "case")
    assert groups(graph) == [1, 4, 4, 1] and groups(dense) == [1, 1, 1, 1]
    np.testing.assert_allclose(run(dense, x), run(graph, x), atol=1e-6)
    weights = [tensor for tensor in dense.graph.initializer if tuple(tensor.dims) == (32, 32, 3, 3)]
    assert len(weights) == 1  # used twice, as before


def test_at_int8_it_makes_the_very_same():
    graph, x = exported(Shared())
    int8 = at_int8(graph, x)
    dense = run_passes(int8, [NAME], "case")
    assert groups(dense) == [1, 1, 1, 1]
    np.testing.assert_array_equal(run(dense, x), run(int8, x))


@pytest.mark.parametrize("module", [Shared(32, 1), Shared(32, 8), Shared(16, 16)])
def test_dense_ones_and_groups_of_few_channels_stay(module):
    graph, _ = exported(module)
    assert run_passes(graph, [NAME], "case") is graph


def test_a_weight_that_something_else_reads_stays():
    graph, _ = exported(Shared())
    weight = next(tensor.name for tensor in graph.graph.initializer if tuple(tensor.dims) == (32, 8, 3, 3))
    value = onnx.helper.make_tensor_value_info("weight", onnx.TensorProto.FLOAT, [32, 8, 3, 3])
    graph.graph.node.append(onnx.helper.make_node("Identity", [weight], ["weight"]))
    graph.graph.output.append(value)
    assert run_passes(graph, [NAME], "case") is graph


def test_zero_points_other_than_zero_stay():
    graph, x = exported(Shared())
    int8 = at_int8(graph, x)
    readers = {node.input[0]: node for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    weights = {tensor.name for tensor in int8.graph.initializer if tuple(tensor.dims) == (32, 8, 3, 3)}
    (name,) = weights
    zero = next(tensor for tensor in int8.graph.initializer if tensor.name == readers[name].input[2])
    zero.CopyFrom(onnx.numpy_helper.from_array(np.full(32, 3, np.int8), zero.name))
    assert run_passes(int8, [NAME], "case") is int8


def test_what_lies_between_layers_is_computed_at_int8(tmp_path):
    graph, x = exported(Shared())
    kinds = optimised(at_int8(graph, x), tmp_path)
    assert "QLinearConcat" in kinds and "Concat" not in kinds
    before_last = kinds[: kinds.index("DepthToSpace")]
    assert "DequantizeLinear" not in before_last  # pictures are shuffled as bytes, too


def optimised(graph, folder):
    """The operators that ONNX Runtime makes of a graph."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


class Net(RoutedModule):
    inputs = (Image("image", 24, 40),)
    outputs = (Image("made"),)

    def __init__(self):
        super().__init__()
        self.body, self.ends = Shared(), nn.Conv2d(1, 3, 1)

    def flow(self, f, image):
        return f.call(self.whole, image)

    def whole(self, image: torch.Tensor) -> torch.Tensor:
        return self.ends(self.body(image))[..., ::2, ::2]


@pytest.mark.slow
@pytest.mark.parametrize(("ms", "dense"), [(0.9, True), (0.97, False), (2.0, False)])
def test_what_is_timed_clearly_faster_is_taken(ms, dense, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "edgeflow.export.lowering.trials.time_graph", lambda graph, *_: 1.0 if 4 in groups(graph) else ms
    )
    target = replace(load("cpu").at("int8"), batches=(1,))
    frames = [moving_picture(24, 40, time) for time in range(3)]
    made = compile_model(Net().eval(), target, tmp_path / "net.edgeflow", reference={}, frames=frames)
    bundle = open_bundle(made.path)
    (entry,) = bundle.manifest.graphs.values()
    graph = onnx.load(made.path / entry.file, load_external_data=False)
    assert entry.precision == "int8" and (4 in groups(graph)) != dense
    assert check(bundle).passed
    assert np.ptp(Session(bundle)(frames[0])) > 0
