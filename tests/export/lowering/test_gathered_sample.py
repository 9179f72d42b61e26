"""`GridSample` by gathers computes what `GridSample` does, and the probe's numbers are torch's."""

import itertools

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper

from edgeflow.export.lowering.gathered_sample import PADDINGS, Sampling, definition, sampling, with_gathers

WAYS = [Sampling(padding, corners) for padding, corners in itertools.product(PADDINGS, (False, True))]


def graph_of(how, mode="linear"):
    """One node; all but the channels is free."""
    node = helper.make_node(
        "GridSample",
        ["x", "grid"],
        ["y"],
        mode=mode,
        padding_mode=how.padding,
        align_corners=int(how.align_corners),
    )
    kind = onnx.TensorProto.FLOAT
    shapes = {"x": ("n", 3, "h", "w"), "grid": ("n", "a", "b", 2), "y": ("n", 3, "a", "b")}
    infos = {name: helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()}
    graph = helper.make_graph([node], "one", [infos["x"], infos["grid"]], [infos["y"]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("how", WAYS, ids=str)
@pytest.mark.parametrize("size", [(7, 11), (1, 5), (6, 1)])
def test_gathers_sample_as_the_operator_does(how, size):
    model = with_gathers(graph_of(how))
    onnx.checker.check_model(model, full_check=True)
    assert not any(node.op_type == "GridSample" for node in model.graph.node)
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 3, *size)).astype(np.float32)
    grid = (random.standard_normal((2, 4, 9, 2)) * 1.5).astype(np.float32)
    grid[0, 0, :4] = [[-1, -1], [1, 1], [-3, 0], [0, 1e6]]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x, "grid": grid})
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(x), torch.from_numpy(grid), "bilinear", how.padding, how.align_corners
    ).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(definition(x, grid, how), wanted, atol=2e-5)


@pytest.mark.parametrize("mode", ["nearest", "cubic"])
def test_other_modes_are_left_alone(mode):
    model = graph_of(WAYS[0], mode)
    assert sampling(model.graph.node[0]) is None
    assert with_gathers(model) == model
