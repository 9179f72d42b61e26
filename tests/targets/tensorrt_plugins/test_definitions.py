"""The definitions themselves: against ONNX's reference of `DeformConv`, and against torch."""

import definitions
import numpy as np
import onnx
import pytest
import torch
import torch_kernels
from onnx.reference import ReferenceEvaluator
from test_kernels import PLAIN, UNEVEN, adabd_inputs, deform_inputs

from edgeflow.ops.cost_volume import cost_volume


@pytest.mark.parametrize("geometry", [PLAIN, UNEVEN], ids=["plain", "uneven"])
def test_deform_conv2d_is_onnx_deform_conv(geometry):
    inputs = deform_inputs(7, np.float32, (1, 6, 8, 9), 4, (3, 2), **geometry)
    names = ["x", "weight", "offset", "bias", "mask"]
    attributes = {key: geometry[key] for key in ("strides", "pads", "dilations")}
    attributes |= {"group": geometry["groups"], "offset_group": geometry["offset_groups"]}
    node = onnx.helper.make_node("DeformConv", names, ["y"], **attributes)
    known = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in [*names, "y"]]
    graph = onnx.helper.make_graph([node], "deform", known[:-1], known[-1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    (wanted,) = ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
    np.testing.assert_allclose(definitions.deform_conv2d(*inputs, **geometry), wanted, atol=2e-5)


def test_adabd_is_two_deformable_convolutions_by_grid_sample():
    inputs = adabd_inputs(9, np.float64, (2, 5, 6, 7), 3)
    wanted = torch_kernels.adabd(*(torch.from_numpy(item).double() for item in inputs))
    np.testing.assert_allclose(definitions.adabd(*inputs), wanted, atol=1e-11)


def test_cost_volume_is_the_operator():
    first, second = np.random.default_rng(8).standard_normal((2, 2, 5, 6, 7)).astype(np.float32)
    wanted = cost_volume(torch.from_numpy(first), torch.from_numpy(second), 3)
    np.testing.assert_allclose(definitions.cost_volume(first, second, 3), wanted, atol=1e-6)
