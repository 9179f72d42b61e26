"""The plugins' kernels on a GPU, against their definitions in float64: odd sizes, both types, both layouts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/targets/tensorrt_plugins"))

import definitions
from kernel_calls import DeviceMemory, Kernels
from kernel_inputs import PLAIN, UNEVEN, adabd_inputs, assert_close, deform_inputs

Check = Callable[[], float]
"""Compares, and returns the largest error."""

DRAWS = 40
"""Random geometries of a deformable convolution."""


def checks(library: Path) -> Iterator[tuple[str, Check]]:
    """Every comparison, by name."""
    kernels = Kernels(library, DeviceMemory)
    for dtype in (np.float32, np.float16):
        kind = np.dtype(dtype).name
        for name, shape, outputs, kernel, geometry in _GEOMETRIES:
            inputs = deform_inputs(0, dtype, shape, outputs, kernel, **geometry)
            yield f"deform_conv2d {name} {kind}", partial(_deform, kernels, inputs, geometry)
        for shape, outputs in (
            ((1, 64, 6, 33), 64),
            ((2, 21, 5, 7), 100),
            ((1, 8, 4, 16), 130),
            ((1, 48, 90, 161), 48),
        ):
            inputs = adabd_inputs(0, dtype, shape, outputs)
            yield f"adabd {shape} to {outputs} {kind}", partial(_adabd, kernels, inputs)
        for radius in (0, 1, 4, 9):
            for shape in ((2, 13, 7, 37), (3, 1, 1, 1), (1, 32, 90, 161)):
                yield (
                    f"cost_volume {shape} radius {radius} {kind}",
                    partial(_volume, kernels, shape, radius, dtype),
                )
    for seed in range(DRAWS):
        yield f"deform_conv2d drawn {seed}", partial(_drawn, kernels, seed)
    yield "deform_conv2d channels last", partial(_channels_last, kernels)
    yield "deform_conv2d far offsets", partial(_far, kernels)


_GEOMETRIES = (
    ("plain", (1, 64, 8, 33), 64, (3, 3), PLAIN),
    ("ragged", (2, 19, 9, 17), 70, (3, 3), PLAIN),
    ("offset groups", (1, 72, 5, 18), 130, (3, 3), {**PLAIN, "offset_groups": 8}),
    ("uneven", (2, 12, 21, 26), 10, (3, 5), UNEVEN),
    ("pointwise", (3, 16, 7, 6), 8, (1, 1), {**PLAIN, "pads": (0, 0, 0, 0)}),
    ("depthwise", (1, 8, 20, 19), 8, (7, 7), {**PLAIN, "pads": (3, 3, 3, 3), "groups": 8}),
    ("picture", (1, 48, 135, 241), 48, (3, 3), PLAIN),
)


def _deform(kernels: Kernels, inputs: Any, geometry: Any) -> float:
    x, weight = inputs[:2]
    found, wanted = kernels.deform_conv2d(*inputs, **geometry), definitions.deform_conv2d(*inputs, **geometry)
    assert_close(found, wanted, x.dtype, weight[0].size)
    return _error(found, wanted)


def _drawn(kernels: Kernels, seed: int) -> float:
    random = np.random.default_rng(seed)
    groups, offset_groups = random.integers(1, 4, 2).tolist()
    small = partial(random.integers, 1, 4)
    geometry = {
        "strides": tuple(small(size=2).tolist()),
        "pads": tuple(random.integers(0, 3, 4).tolist()),
        "dilations": tuple(small(size=2).tolist()),
        "groups": groups,
        "offset_groups": offset_groups,
    }
    kernel = tuple(small(size=2).tolist())
    size = [geometry["dilations"][i] * (kernel[i] - 1) + int(random.integers(1, 40)) for i in (0, 1)]
    shape = (int(small()), groups * offset_groups * int(random.integers(1, 9)), *size)
    dtype = (np.float32, np.float16)[seed % 2]
    reach = (0.0, 0.3, 3.0, 300.0)[seed % 4]
    return _deform(
        kernels, deform_inputs(seed, dtype, shape, groups * 3, kernel, reach, **geometry), geometry
    )


def _adabd(kernels: Kernels, inputs: Any) -> float:
    found, wanted = kernels.adabd(*inputs), definitions.adabd(*inputs)
    assert_close(found, wanted, inputs[0].dtype, 2 * inputs[4][0].size)
    return _error(found, wanted)


def _volume(kernels: Kernels, shape: tuple[int, ...], radius: int, dtype: Any) -> float:
    first, second = np.random.default_rng(radius).standard_normal((2, *shape)).astype(dtype)
    found, wanted = kernels.cost_volume(first, second, radius), definitions.cost_volume(first, second, radius)
    rtol, atol = (1e-7, 1e-6) if dtype == np.float32 else (6e-4, 1e-5)
    np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=rtol, atol=atol)
    return _error(found, wanted)


def _channels_last(kernels: Kernels) -> float:
    geometry = {**PLAIN, "groups": 2, "offset_groups": 2, "strides": (1, 2)}
    inputs = deform_inputs(1, np.float16, (2, 48, 6, 35), 72, (3, 3), **geometry)
    last = kernels.deform_conv2d(*inputs, channels_last=True, **geometry)
    np.testing.assert_array_equal(last, kernels.deform_conv2d(*inputs, **geometry))
    return 0.0


def _far(kernels: Kernels) -> float:
    x, weight, offset, bias, mask = deform_inputs(4, np.float32, (1, 4, 5, 6), 3, (3, 3), **PLAIN)
    far = np.resize(np.float32([1e30, -1e30, np.inf, -np.inf, np.nan, 2**31, -(2**31), 1e6]), offset.shape)
    found = kernels.deform_conv2d(x, weight, far, bias, mask, **PLAIN)
    np.testing.assert_array_equal(found, np.broadcast_to(bias[:, None, None], found.shape))
    return 0.0


def _error(found: Any, wanted: Any) -> float:
    return float(np.abs(found.astype(np.float64) - wanted).max())
