"""Outputs whose planes are whole pages: written by a transposition, with the same values."""

import numpy as np
import pytest

ov = pytest.importorskip("openvino")

from openvino import opset8  # noqa: E402

from edgeflow.runtime.backends.openvino_planes import turn_planes  # noqa: E402


def network(channels, sides, last="relu"):
    """A convolution of 8 channels, with a bias and what follows it."""
    random = np.random.default_rng(0)
    dims = len(sides)
    x = opset8.parameter([-1, 8, *sides], np.float32)
    weights = random.normal(size=(channels, 8, *(3,) * dims)).astype(np.float32)
    ones, none = [1] * dims, [1] * dims
    made = opset8.convolution(x, opset8.constant(weights), ones, none, none, ones)
    made = opset8.add(made, opset8.constant(random.normal(size=(1, channels, *ones)).astype(np.float32)))
    if last == "relu":
        made = opset8.relu(made)
    if last == "softmax":
        made = opset8.softmax(made, 1)
    return ov.Model([made], [x])


def outputs(model, frames):
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return next(iter(compiled.infer_new_request([frames]).values()))


@pytest.mark.parametrize(("channels", "sides"), [(64, (32, 32)), (16, (64, 16)), (32, (4, 16, 16))])
@pytest.mark.parametrize("batch", [1, 3])
def test_values_are_the_same(channels, sides, batch):
    frames = np.random.default_rng(1).normal(size=(batch, 8, *sides)).astype(np.float32)
    model = network(channels, sides)
    plain = outputs(network(channels, sides), frames)
    assert turn_planes(model) == 1
    assert [op.get_type_name() for op in model.get_ordered_ops()].count("Transpose") == 2
    assert model.output(0).get_partial_shape() == ov.PartialShape([-1, channels, *sides])
    assert np.array_equal(outputs(model, frames), plain)


@pytest.mark.parametrize(
    ("channels", "sides", "last"),
    [
        (64, (30, 32), "relu"),  # no whole pages
        (72, (32, 32), "relu"),  # more channels take another step
        (3, (32, 32), "relu"),  # fewer fit the cache
        (64, (32, 32), "softmax"),  # nothing that is fused into a convolution
    ],
)
def test_others_are_left_as_they_are(channels, sides, last):
    model = network(channels, sides, last)
    assert turn_planes(model) == 0
    assert "Transpose" not in {op.get_type_name() for op in model.get_ordered_ops()}
