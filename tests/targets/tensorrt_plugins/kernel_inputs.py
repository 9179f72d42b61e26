"""Random inputs for the kernels, and how close to their definition a result must be.

Offsets are multiples of 2^-10: float32 holds the coordinates of a picture's samples exactly then, which it would else round,
and the error that is left is that of sampling and adding up.
"""

import numpy as np

PLAIN = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": 1, "offset_groups": 1}

UNEVEN = {"strides": (2, 3), "pads": (2, 0, 1, 4), "dilations": (1, 2), "groups": 2, "offset_groups": 3}


def deform_inputs(seed, dtype, shape, outputs, kernel, reach=2.0, **geometry):
    """x, weight, offset, bias, mask; offsets reach a few pixels, so some taps fall outside."""
    random = np.random.default_rng(seed)
    n, channels, *size = shape
    strides, pads, dilations = (geometry[key] for key in ("strides", "pads", "dilations"))
    height, width = (
        (size[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in (0, 1)
    )
    planes = geometry["offset_groups"] * kernel[0] * kernel[1]
    return (
        random.standard_normal(shape).astype(dtype),
        random.standard_normal((outputs, channels // geometry["groups"], *kernel)).astype(dtype),
        _offsets(random, (n, planes * 2, height, width), reach),
        random.standard_normal(outputs).astype(dtype),
        random.random((n, planes, height, width)).astype(np.float32),
    )


def _offsets(random, shape, reach):
    return (np.round(random.standard_normal(shape) * reach * 1024) / 1024).astype(np.float32)


def adabd_inputs(seed, dtype, shape, outputs, reach=2.0):
    random = np.random.default_rng(seed)
    n, channels, height, width = shape
    return (
        random.standard_normal(shape).astype(dtype),
        random.standard_normal(shape).astype(dtype),
        _offsets(random, (n, 18, height, width), reach),
        random.random((n, 9, height, width)).astype(np.float32),
        random.standard_normal((outputs, channels, 3, 3)).astype(dtype),
    )


def adacof_inputs(seed, dtype, shape, side, reach=2.0):
    random = np.random.default_rng(seed)
    n, _, height, width = shape
    kernels = (n, side**2, height, width)
    return (
        random.standard_normal(shape).astype(dtype),
        (random.random(kernels) / side).astype(dtype),
        _offsets(random, kernels, reach),
        _offsets(random, kernels, reach),
    )


def splat_inputs(seed, dtype, shape, reach=2.0):
    random = np.random.default_rng(seed)
    n, _, height, width = shape
    return random.standard_normal(shape).astype(dtype), _offsets(random, (n, 2, height, width), reach)


def assert_close(found, wanted, dtype, terms):
    """As close as rounding the samples and the result allows, for sums of `terms` normal products."""
    share = 1e-6 if dtype == np.float32 else 1e-3
    np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=4 * share, atol=4 * share * terms**0.5)
