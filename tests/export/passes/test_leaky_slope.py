"""A PReLU of one slope becomes a leaky ReLU."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeflow.export.passes import run_passes


def prelu(slope, known=True):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 3, 4, 5)) for name in "xy")
    node = helper.make_node("PRelu", ["x", "slope"], ["y"])
    values = np.array(slope, np.float32).reshape(-1, 1, 1)
    given = [] if known else [helper.make_tensor_value_info("slope", TensorProto.FLOAT, values.shape)]
    kept = [numpy_helper.from_array(values, "slope")] if known else []
    graph = helper.make_graph([node], "prelu", [x, *given], [y], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("slope", [[0.1], [-0.7], [0.3, 0.3, 0.3]])
def test_one_slope_is_a_number(slope):
    model = prelu(slope)
    changed = run_passes(model, ["leaky-slope"], "test")
    assert [node.op_type for node in changed.graph.node] == ["LeakyRelu"]
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5)).astype(np.float32)
    assert np.array_equal(run(changed, x), run(model, x))


@pytest.mark.parametrize("model", [prelu([0.1, 0.2, 0.3]), prelu([0.1], known=False)])
def test_others_stay(model):
    assert run_passes(model, ["leaky-slope"], "test") is model
