import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeflow.export.passes import run_passes
from edgeflow.runtime.backends import open_backend


def resize(shape, scales, mode="cubic", symbolic=None, **attributes):
    """A graph with one Resize of (n, c, h, w)."""
    out = [int(d * s) for d, s in zip(shape, scales, strict=True)]
    dims = list(shape) if symbolic is None else [*shape[:2], *symbolic]
    made = list(out) if symbolic is None else [*out[:2], None, None]
    attributes = {"coordinate_transformation_mode": "half_pixel", **attributes}
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, **attributes)
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *dims[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *made[1:]])],
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], scales)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def run(model, x):
    open_backend("onnxruntime")  # sessions of one process share its thread pool
    options = ort.SessionOptions()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


@settings(max_examples=40)
@given(
    st.integers(2, 5),
    st.booleans(),
    st.sampled_from(["cubic", "linear"]),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(1, 4),
    st.sampled_from([-0.75, -0.5]),
)
def test_the_rewrite_is_the_same_function(factor, enlarge, mode, size, channels, coefficient):
    shape = (2, channels, *size) if enlarge else (2, channels, size[0] * factor, size[1] * factor)
    scale = float(factor) if enlarge else 1 / factor
    model = resize(shape, [1, 1, scale, scale], mode, cubic_coeff_a=coefficient)
    rewritten = run_passes(model, ["polyphase-resize"], "test")
    assert "Resize" not in operators(rewritten) and "Conv" in operators(rewritten)
    x = np.random.default_rng(factor).random(shape, dtype=np.float32)
    wanted, got = run(model, x), run(rewritten, x)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=2e-6)


@pytest.mark.parametrize("shape", [(3, 2, 7, 11), (1, 3, 16, 16)])
def test_enlarging_keeps_a_free_frame_free(shape):
    model = resize((1, *shape[1:]), [1, 1, 2.0, 2.0], symbolic=("height", "width"))
    rewritten = run_passes(model, ["polyphase-resize"], "test")
    assert "Resize" not in operators(rewritten)
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    np.testing.assert_allclose(run(rewritten, x), run(model, x), atol=2e-6)


@pytest.mark.parametrize(
    "model",
    [
        resize((1, 3, 8, 8), [1, 1, 1.5, 1.5]),
        resize((1, 3, 8, 8), [1, 1, 2.0, 4.0]),
        resize((1, 3, 8, 8), [1, 2, 2.0, 2.0]),
        resize((1, 3, 8, 8), [1, 1, 2.0, 2.0], "nearest"),
        resize((1, 3, 8, 8), [1, 1, 0.5, 0.5], antialias=1),
        resize((1, 3, 8, 8), [1, 1, 2.0, 2.0], coordinate_transformation_mode="align_corners"),
        resize((1, 3, 8, 8), [1, 1, 2.0, 2.0], coordinate_transformation_mode="asymmetric"),
        resize((1, 3, 8, 8), [1, 1, 2.0, 2.0], exclude_outside=1),
        resize((1, 3, 9, 9), [1, 1, 1 / 2, 1 / 2]),
        resize((1, 3, 8, 8), [1, 1, 0.5, 0.5], symbolic=("height", "width")),
    ],
    ids=[
        "1.5",
        "2 and 4",
        "channels",
        "nearest",
        "antialias",
        "align",
        "asymmetric",
        "outside",
        "9 by 2",
        "free",
    ],
)
def test_other_resizes_are_left_alone(model):
    before = model.SerializeToString(deterministic=True)
    assert run_passes(model, ["polyphase-resize"], "test").SerializeToString(deterministic=True) == before


def test_the_compiled_tiles_have_no_resize_left(tiny_bundles):
    graphs = [g for g in tiny_bundles["routes"].path.glob("graphs/*.onnx") if "finder" not in g.name]
    assert len(graphs) == 15
    assert not any("Resize" in operators(onnx.load(graph, load_external_data=False)) for graph in graphs)
