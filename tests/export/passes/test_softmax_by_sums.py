"""A softmax over channels becomes the sums and quotients that it is."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edgeflow.export.passes import run_passes

INFINITE = float("inf")


def softmax(shape, axis, kind=TensorProto.FLOAT, opset=19):
    x, y = (helper.make_tensor_value_info(name, kind, shape) for name in "xy")
    node = helper.make_node("Softmax", ["x"], ["y"], axis=axis)
    graph = helper.make_graph([node], "softmax", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(("shape", "axis"), [((2, 9, 4, 5), 1), ((2, 3, 4, 5), -2), (("n", 7, 6), 1)])
def test_sums_and_quotients_are_equal(shape, axis):
    model = softmax(shape, axis)
    changed = run_passes(model, ["softmax-by-sums"], "test")
    assert "Softmax" not in [node.op_type for node in changed.graph.node]
    x = np.random.default_rng(0).normal(0, 40, [2 if size == "n" else size for size in shape])
    x = x.astype(np.float32)
    x.flat[:3] = 3e38, -3e38, -INFINITE
    np.testing.assert_allclose(run(changed, x), run(model, x), atol=1e-6)
    assert np.isnan(run(changed, np.full_like(x, INFINITE))).all()


@pytest.mark.parametrize(
    "model",
    [
        softmax((2, 9, 4, 5), -1),  # lies together already
        softmax((2, 9, 1, 1), 1),  # so does this
        softmax((2, 9, 4, 5), 1, TensorProto.FLOAT16),
        softmax((2, 9, 4, 5), 1, opset=13),
    ],
)
def test_others_stay(model):
    assert run_passes(model, ["softmax-by-sums"], "test") is model
    onnx.checker.check_model(model)
