import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from edgeflow.export.passes import passes_of, run_passes
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.backends.openvino_extensions import EXTENSIONS
from edgeflow.targets import load

PASS = ["sample-by-deform-conv"]


def operators(model):
    return [node.op_type for node in model.graph.node]


def sampling(channels, stacked, sides=(9, 13), rows=None, **attributes):
    """A graph with one GridSample, of a grid that is given or stacked of its two planes; `rows` of one of these."""
    grids = {"grid": ["batch", rows or sides[0], sides[1], 2]}
    nodes = []
    if stacked:
        grids = {"across": ["batch", rows or sides[0], sides[1]], "down": ["batch", *sides]}
        nodes = [helper.make_node("Unsqueeze", [name, "end"], [f"{name}_"]) for name in grids]
        nodes.append(helper.make_node("Concat", [f"{name}_" for name in grids], ["grid"], axis=-1))
    nodes.append(helper.make_node("GridSample", ["x", "grid"], ["y"], **attributes))
    given = {"x": ["batch", channels, *sides], **grids}
    graph = helper.make_graph(
        nodes,
        "sampling",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in given.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", channels, None, None])],
        [helper.make_tensor("end", TensorProto.INT64, [1], [3])] if stacked else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_it_samples_as_torch_does(stacked, padding, aligned):
    free = {"sides": ("height", "width"), "rows": "as many"} if stacked else {}
    model = sampling(3, stacked, **free, padding_mode=padding, align_corners=aligned)
    rewritten = run_passes(model, PASS, "test")
    assert "GridSample" not in operators(rewritten) and "DeformConv" in operators(rewritten)
    random = np.random.default_rng(0)
    x = random.random((2, 3, 9, 13), dtype=np.float32)
    grid = random.uniform(-1.4, 1.4, (2, 9, 13, 2)).astype(np.float32)  # beyond the picture, too
    grid[0, 0, 0] = (-1, 1)
    grid[0, 0, 1] = (3e6, -3e6)
    feed = {"x": x, "across": grid[..., 0], "down": grid[..., 1]} if stacked else {"x": x, "grid": grid}
    open_backend("onnxruntime")  # sessions of one process share its thread pool
    (found,) = ort.InferenceSession(rewritten.SerializeToString()).run(None, feed)
    wanted = F.grid_sample(
        torch.from_numpy(x), torch.from_numpy(grid), "bilinear", padding, align_corners=bool(aligned)
    )
    np.testing.assert_allclose(found, wanted.numpy(), atol=5e-6)
    core = ov.Core()  # a bundle for ONNX Runtime may be run by OpenVINO, too
    for extension in EXTENSIONS:
        core.add_extension(extension)
    compiled = core.compile_model(
        core.read_model(rewritten.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    np.testing.assert_allclose(compiled(feed)[0], wanted.numpy(), atol=5e-6)


@pytest.mark.parametrize(
    ("channels", "attributes"),
    [(3, {"padding_mode": "reflection"}), (3, {"mode": "nearest"}), (65, {}), (3, {"rows": 7})],
)
def test_what_a_deformable_convolution_does_not_do_stays(channels, attributes):
    model = sampling(channels, stacked=False, **attributes)
    before = onnx.ModelProto()
    before.CopyFrom(model)
    assert operators(run_passes(model, PASS, "test")) == operators(before)


def test_it_is_left_out_where_the_library_or_the_form_of_operators_lacks_it(monkeypatch):
    target = load("cpu")
    assert PASS[0] in passes_of(target)
    assert PASS[0] not in passes_of(target.with_operators("standard"))
    monkeypatch.setattr("edgeflow.export.passes.version", lambda package: "1.25.1")
    assert PASS[0] not in passes_of(target)
