"""Plugin nodes run by ONNX Runtime compute what the operators do in torch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_bundles import compile_kept
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from plugin_model import Deforming, Matching

from edgeflow.export.plugins.bodies import _HEAD, runnable, with_bodies
from edgeflow.export.plugins.nodes import PLUGINS
from edgeflow.export.precision.qdq import guest_session
from edgeflow.ir.errors import BackendError
from edgeflow.ops.adabd import adabd
from edgeflow.ops.adacof import adacof
from edgeflow.ops.cost_volume import cost_volume
from edgeflow.ops.deform_conv import deform_conv2d
from edgeflow.ops.splat import splat
from edgeflow.runtime import open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.check import check
from edgeflow.targets import load

few = settings(max_examples=12)
sizes = st.integers(2, 6)
NAMES = {"plugin_version": "1", "plugin_namespace": "edgeflow"}


def computed(op, inputs, coordinates=(), half=False, **attributes):
    """What a model of one plugin node makes, with all but the coordinates in half precision if asked for."""
    arrays = {
        name: tensor.numpy().astype(np.float16 if half and name not in coordinates else np.float32)
        for name, tensor in inputs.items()
    }
    infos = [
        make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    node = make_node(op, list(arrays), ["y"], domain="edgeflow", **NAMES, **attributes)
    graph = make_graph([node], "one", infos, [make_tensor_value_info("y", kind, list("nchw"))])
    opsets = [make_opsetid("", 19), make_opsetid("edgeflow", 1)]
    model = with_bodies(make_model(graph, opset_imports=opsets, ir_version=10))
    onnx.checker.check_model(model, full_check=True)
    session = guest_session(model.SerializeToString())
    return torch.from_numpy(session.run(None, arrays)[0])


def close(made, wanted, half=False):
    torch.testing.assert_close(made.float(), wanted, atol=2e-2 if half else 1e-4, rtol=1e-2 if half else 1e-4)


@pytest.fixture(scope="module", autouse=True)
def pool():
    """The thread pool that sessions share is opened by the first backend of a process."""
    open_backend("onnxruntime")


def test_every_plugin_has_a_body():
    assert all(
        onnx.parser.parse_function(_HEAD + plugin.body).name == node for node, plugin in PLUGINS.items()
    )


@few
@given(
    n=st.integers(1, 2), groups=st.sampled_from([1, 2]), deforming=st.sampled_from([1, 2]), height=sizes, width=sizes,
    kernel=st.sampled_from([(1, 1), (3, 3), (1, 3)]), stride=st.sampled_from([(1, 1), (2, 1)]),
    dilation=st.sampled_from([(1, 1), (1, 2)]), masked=st.booleans(), half=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_deformable_convolution(
    n, groups, deforming, height, width, kernel, stride, dilation, masked, half, seed
):
    torch.manual_seed(seed)
    padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    out = [(size - 1) // step + 1 for size, step in zip((height, width), stride, strict=True)]
    taps = kernel[0] * kernel[1]
    inputs = {
        "x": torch.randn(n, 4, height, width),
        "weight": torch.randn(6, 4 // groups, *kernel),
        "offset": torch.randn(n, 2 * deforming * taps, *out) * 2,
        "bias": torch.randn(6),
        "mask": torch.rand(n, deforming * taps, *out),
    }
    wanted = deform_conv2d(
        inputs["x"], inputs["offset"], inputs["weight"], inputs["bias"], stride, padding, dilation,
        mask=inputs["mask"] if masked else None,
    )  # fmt: skip
    if not masked:
        del inputs["mask"]
    made = computed(
        "EdgeflowDeformConv2d", inputs, ("offset", "mask"), half, strides=stride, pads=(*padding, *padding),
        dilations=dilation, group=groups, offset_group=deforming,
    )  # fmt: skip
    close(made, wanted, half)


@few
@given(n=st.integers(1, 2), height=sizes, width=sizes, half=st.booleans(), seed=st.integers(0, 99))
def test_adabd(n, height, width, half, seed):
    torch.manual_seed(seed)
    inputs = {
        "current": torch.randn(n, 4, height, width),
        "reference": torch.randn(n, 4, height, width),
        "offset": torch.randn(n, 18, height, width) * 2,
        "mask": torch.rand(n, 9, height, width),
        "weight": torch.randn(5, 4, 3, 3),
    }
    close(computed("EdgeflowAdaBD", inputs, ("offset", "mask"), half), adabd(*inputs.values()), half)


@few
@given(
    n=st.integers(1, 2), c=st.integers(1, 5), height=sizes, width=sizes, radius=st.integers(0, 4),
    half=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_cost_volume(n, c, height, width, radius, half, seed):
    torch.manual_seed(seed)
    inputs = {name: torch.randn(n, c, height, width) for name in ("first", "second")}
    made = computed("EdgeflowCostVolume", inputs, (), half, radius=radius)
    close(made, cost_volume(*inputs.values(), radius), half)


@few
@given(
    n=st.integers(1, 2), c=st.integers(1, 4), height=sizes, width=sizes, side=st.sampled_from([1, 3, 5]),
    dilation=st.integers(1, 2), half=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_adacof(n, c, height, width, side, dilation, half, seed):
    torch.manual_seed(seed)
    taps = (n, side**2, height, width)
    inputs = {
        "image": torch.randn(n, c, height, width),
        "weight": torch.rand(taps) / side,
        "alpha": torch.randn(taps) * 2,
        "beta": torch.randn(taps) * 20,
    }
    made = computed("EdgeflowAdaCoF", inputs, ("alpha", "beta"), half, dilation=dilation)
    close(made, adacof(*inputs.values(), dilation), half)


@few
@given(
    n=st.integers(1, 2), c=st.integers(1, 4), height=sizes, width=sizes, reach=st.sampled_from([0.0, 2.0, 99.0]),
    half=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_splat(n, c, height, width, reach, half, seed):
    torch.manual_seed(seed)
    inputs = {
        "values": torch.randn(n, c, height, width),
        "flow": reach * torch.randn(n, 2, height, width),
    }
    close(computed("EdgeflowSplat", inputs, ("flow",), half), splat(*inputs.values()), half)


@pytest.mark.parametrize(
    ("model", "precision", "library"),
    [
        (Deforming, "fp32", "onnxruntime"),
        (Deforming, "fp16", "onnxruntime"),
        (Matching, "fp16", "openvino"),
        (Matching, "bf16", "openvino"),
    ],
)
def test_a_bundle_with_plugins_runs_here_as_a_copy(tmp_path, model, precision, library):
    torch.manual_seed(0)
    target = load("jetson-orin").at(precision)
    made = compile_kept(model().eval(), target, tmp_path / "d.edgeflow", reference={})
    bundle = open_bundle(made.path)
    with pytest.raises(BackendError, match="which are TensorRT plugins"):
        check(bundle, library=library)
    with runnable(bundle) as copy:
        assert check(copy, library=library).passed
        place = copy.path
    assert not place.exists()
    (entry,) = bundle.manifest.graphs.values()
    assert not onnx.load(bundle.path / entry.file).functions  # TensorRT would take them instead of plugins
