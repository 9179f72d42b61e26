"""Every kernel against the definition of what it computes."""

import definitions
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_inputs import (
    PLAIN,
    UNEVEN,
    adabd_inputs,
    adacof_inputs,
    assert_close,
    deform_inputs,
    splat_inputs,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float16])


@pytest.mark.slow
@DTYPES
@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "geometry"),
    [
        ((1, 64, 8, 33), 64, (3, 3), PLAIN),
        ((2, 19, 9, 17), 70, (3, 3), PLAIN),  # channels and outputs are no multiples of anything
        ((1, 72, 5, 18), 130, (3, 3), {**PLAIN, "offset_groups": 8}),
        ((2, 12, 21, 26), 10, (3, 5), UNEVEN),
        ((3, 16, 7, 6), 8, (1, 1), {**PLAIN, "pads": (0, 0, 0, 0)}),
        ((1, 8, 20, 19), 8, (7, 7), {**PLAIN, "pads": (3, 3, 3, 3), "groups": 8}),
    ],
    ids=["plain", "ragged", "offset-groups", "uneven", "pointwise", "depthwise"],
)
def test_deform_conv2d(kernels, dtype, shape, outputs, kernel, geometry):
    inputs = deform_inputs(0, dtype, shape, outputs, kernel, **geometry)
    found = kernels.deform_conv2d(*inputs, **geometry)
    terms = shape[1] // geometry["groups"] * kernel[0] * kernel[1]
    assert_close(found, definitions.deform_conv2d(*inputs, **geometry), dtype, terms)


@pytest.mark.parametrize("groups", [1, 2])
def test_deform_conv2d_of_channels_last(kernels, groups):
    geometry = {**PLAIN, "groups": groups, "offset_groups": 2, "strides": (1, 2)}
    inputs = deform_inputs(1, np.float16, (2, 48, 6, 35), 72, (3, 3), **geometry)
    found = kernels.deform_conv2d(*inputs, channels_last=True, **geometry)
    assert_close(found, definitions.deform_conv2d(*inputs, **geometry), np.float16, 9 * 48)
    assert np.array_equal(found, kernels.deform_conv2d(*inputs, **geometry))


@DTYPES
def test_deform_conv2d_without_a_mask(kernels, dtype):
    x, weight, offset, bias, _ = deform_inputs(2, dtype, (1, 8, 6, 9), 5, (3, 3), **PLAIN)
    found = kernels.deform_conv2d(x, weight, offset, bias, None, **PLAIN)
    assert_close(found, definitions.deform_conv2d(x, weight, offset, bias, None, **PLAIN), dtype, 72)


def test_deform_conv2d_without_offsets_is_a_convolution(kernels):
    x, weight, offset, bias, _ = deform_inputs(3, np.float32, (2, 12, 9, 14), 6, (3, 3), **PLAIN)
    found = kernels.deform_conv2d(x, weight, offset * 0, bias, None, **PLAIN)
    wanted = torch.conv2d(*map(torch.from_numpy, (x, weight, bias)), padding=1)
    assert_close(found, wanted.numpy(), np.float32, 108)


def test_offsets_beyond_reason_sample_nothing(kernels):
    x, weight, offset, bias, mask = deform_inputs(4, np.float32, (1, 4, 5, 6), 3, (3, 3), **PLAIN)
    far = np.resize(np.float32([1e30, -1e30, np.inf, -np.inf, np.nan, 2**31, -(2**31), 1e6]), offset.shape)
    found = kernels.deform_conv2d(x, weight, far, bias, mask, **PLAIN)
    assert np.array_equal(found, np.broadcast_to(bias[:, None, None], found.shape))


@pytest.mark.parametrize("place", [-1.0, -0.999, -0.5, 0.0, 0.25, 3.0, 3.001, 3.999, 4.0, 4.001])
@pytest.mark.parametrize("axis", [0, 1])
def test_borders(kernels, place, axis):
    """One tap, moved along one axis to and past both edges of a 4x4 image."""
    geometry = {**PLAIN, "pads": (0, 0, 0, 0)}
    x = np.random.default_rng(5).standard_normal((1, 1, 4, 4)).astype(np.float32)
    offset = np.zeros((1, 2, 4, 4), np.float32)
    offset[:, axis] = place - np.mgrid[:4, :4][axis]
    arguments = (x, np.ones((1, 1, 1, 1), np.float32), offset, np.zeros(1, np.float32), None)
    wanted = definitions.deform_conv2d(*arguments, **geometry)
    np.testing.assert_allclose(kernels.deform_conv2d(*arguments, **geometry), wanted, atol=2e-6)


def test_coordinates_are_not_rounded_to_the_data_type(kernels):
    """At column 1500 float16 keeps whole pixels only; a ramp shows where it was sampled."""
    geometry = {**PLAIN, "pads": (0, 0, 0, 0)}
    x = np.zeros((1, 8, 1, 1600), np.float16)
    x[..., 1496:1512] = np.arange(16) / 16
    offset = np.zeros((1, 2, 1, 1600), np.float32)
    offset[:, 1] = 0.4375
    arguments = (x, np.full((1, 8, 1, 1), 0.125, np.float16), offset, np.zeros(1, np.float16), None)
    found = kernels.deform_conv2d(*arguments, **geometry)[0, 0, 0, 1500]
    assert abs(float(found) - 4.4375 / 16) < 2e-4


def test_what_is_not_sampled_is_not_read(kernels):
    """A NaN in the image reaches only the outputs whose taps touch it."""
    x, weight, offset, bias, _ = deform_inputs(6, np.float32, (1, 4, 6, 20), 3, (3, 3), **PLAIN)
    x[0, 0, 0, 0] = np.nan
    found = kernels.deform_conv2d(x, weight, offset * 0, bias, None, **PLAIN)
    assert np.isnan(found[0, :, :2, :2]).all()
    assert np.isnan(found).sum() == 3 * 4


@settings(max_examples=30)
@given(st.data())
def test_any_deform_conv2d(kernels, data):
    draw = data.draw
    group_sizes = draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (3, 2)]))
    groups, offset_groups = group_sizes
    channels = groups * offset_groups * draw(st.integers(1, 5))
    small = st.integers(1, 3)
    geometry = {
        "strides": (draw(small), draw(small)),
        "pads": tuple(draw(st.integers(0, 2)) for _ in range(4)),
        "dilations": (draw(small), draw(small)),
        "groups": groups,
        "offset_groups": offset_groups,
    }
    kernel = draw(small), draw(small)
    size = tuple(geometry["dilations"][i] * (kernel[i] - 1) + draw(st.integers(1, 20)) for i in (0, 1))
    shape = (draw(st.integers(1, 2)), channels, *size)
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    reach = draw(st.sampled_from([0.0, 0.3, 3.0, 300.0]))
    inputs = deform_inputs(draw(st.integers(0, 99)), dtype, shape, groups * 3, kernel, reach, **geometry)
    found = kernels.deform_conv2d(*inputs, **geometry)
    assert_close(
        found, definitions.deform_conv2d(*inputs, **geometry), dtype, channels * kernel[0] * kernel[1]
    )


@DTYPES
@pytest.mark.parametrize(
    ("shape", "outputs"), [((1, 64, 6, 33), 64), ((2, 21, 5, 7), 100), ((1, 8, 4, 16), 130)]
)
def test_adabd(kernels, dtype, shape, outputs):
    inputs = adabd_inputs(0, dtype, shape, outputs)
    assert_close(kernels.adabd(*inputs), definitions.adabd(*inputs), dtype, 2 * 9 * shape[1])


def test_adabd_of_channels_last(kernels):
    inputs = adabd_inputs(1, np.float16, (2, 24, 5, 19), 72)
    assert np.array_equal(kernels.adabd(*inputs, channels_last=True), kernels.adabd(*inputs))


def test_adabd_of_the_current_frame_alone_is_a_convolution(kernels):
    current, reference, offset, mask, weight = adabd_inputs(2, np.float32, (1, 8, 6, 9), 5)
    found = kernels.adabd(current, reference * np.nan, offset, np.ones_like(mask), weight)
    wanted = torch.conv2d(torch.from_numpy(current), torch.from_numpy(weight), padding=1)
    assert_close(found, wanted.numpy(), np.float32, 72)


@DTYPES
@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", [(2, 13, 7, 37), (1, 8, 4, 32), (3, 1, 1, 1)])
def test_cost_volume(kernels, dtype, radius, shape):
    random = np.random.default_rng(radius)
    first, second = random.standard_normal((2, *shape)).astype(dtype)
    found = kernels.cost_volume(first, second, radius)
    np.testing.assert_allclose(
        found.astype(np.float64),
        definitions.cost_volume(first, second, radius),
        **({"atol": 1e-6} if dtype == np.float32 else {"atol": 1e-5, "rtol": 6e-4}),
    )


def test_empty_tensors_are_no_error(kernels):
    nothing = np.zeros((0, 4, 5, 6), np.float32)
    assert kernels.cost_volume(nothing, nothing, 1).shape == (0, 9, 5, 6)
    inputs = adabd_inputs(0, np.float32, (0, 4, 5, 6), 3)
    assert kernels.adabd(*inputs).shape == (0, 3, 5, 6)


@pytest.mark.parametrize(
    "geometry",
    [
        {"groups": 5},
        {"offset_groups": 5},
        {"strides": (0, 1)},
        {"dilations": (1, -1)},
        {"channels_last": True},  # float32
    ],
)
def test_impossible_sizes_are_refused(kernels, geometry):
    inputs = deform_inputs(0, np.float32, (1, 4, 5, 6), 4, (3, 3), **PLAIN)
    with pytest.raises(RuntimeError, match="CUDA error 1"):
        kernels.deform_conv2d(*inputs, **{**PLAIN, **geometry})


@DTYPES
@pytest.mark.parametrize("reach", [0.0, 2.0, 300.0])
@pytest.mark.parametrize(
    ("shape", "side", "dilation"), [((1, 3, 9, 37), 5, 1), ((2, 9, 5, 6), 3, 2), ((1, 1, 1, 1), 1, 1)]
)
def test_adacof(kernels, dtype, shape, side, dilation, reach):
    inputs = adacof_inputs(0, dtype, shape, side, reach)
    found = kernels.adacof(*inputs, dilation)
    assert_close(found, definitions.adacof(*inputs, dilation), dtype, side**2)


def test_adacof_of_offsets_beyond_reason_reads_the_border(kernels):
    image, weight, alpha, beta = adacof_inputs(1, np.float32, (1, 3, 5, 6), 3)
    for far, row, column in ((1e30, -1, -1), (-np.inf, 0, 0)):
        found = kernels.adacof(image, weight, 0 * alpha + np.float32(far), 0 * beta + np.float32(far), 1)
        wanted = weight.sum(1, keepdims=True) * image[:, :, row, column][:, :, None, None]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    alpha[0, 0, 2, 3] = np.nan
    assert np.argwhere(np.isnan(kernels.adacof(image, weight, alpha, beta, 1))[0, 0]).tolist() == [[2, 3]]


@DTYPES
@pytest.mark.parametrize("reach", [0.0, 2.0, 300.0])
@pytest.mark.parametrize("shape", [(2, 4, 9, 37), (1, 1, 1, 1)])
def test_splat(kernels, dtype, shape, reach):
    inputs = splat_inputs(0, dtype, shape, reach)
    assert_close(kernels.splat(*inputs), definitions.splat(*inputs), dtype, 9)


def test_splat_is_the_same_in_any_order(kernels):
    """Blocks run their threads forwards and backwards in turn: an odd number of calls between turns them all."""
    values, flow = splat_inputs(1, np.float32, (1, 3, 12, 25), 20.0)
    first = kernels.splat(values, flow)
    kernels.adacof(*adacof_inputs(0, np.float32, (1, 1, 1, 1), 1), 1)
    assert np.array_equal(first, kernels.splat(values, flow))
    mirrored = kernels.splat(values[..., ::-1], (flow * np.float32([-1, 1])[:, None, None])[..., ::-1])
    np.testing.assert_allclose(mirrored[..., ::-1], first, atol=1e-5)


def test_splat_takes_what_is_far_away_or_no_number_for_nothing(kernels):
    values, flow = splat_inputs(2, np.float32, (1, 2, 4, 5), 0.0)
    flow[0, :, 1, 1], flow[0, 0, 2, 2], flow[0, 1, 3, 3] = np.nan, 1e30, -np.inf
    wanted = values.copy()
    wanted[0, :, [1, 2, 3], [1, 2, 3]] = 0
    np.testing.assert_allclose(kernels.splat(values, flow), wanted, atol=1e-6)
