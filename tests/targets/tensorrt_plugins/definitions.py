"""What the plugins' kernels compute, in float64 NumPy, written from the definitions and as plainly as possible."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def bilinear(image: Array, y: Array, x: Array) -> Array:
    """Sample (c, h, w) at positions of any shape; zeros lie around the image."""
    height, width = image.shape[1:]
    framed = np.pad(image.astype(np.float64), ((0, 0), (1, 2), (1, 2)))
    y, x = np.clip(y, -1, height), np.clip(x, -1, width)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = y - top, x - left
    upper = framed[:, top + 1, left + 1] * (1 - right) + framed[:, top + 1, left + 2] * right
    lower = framed[:, top + 2, left + 1] * (1 - right) + framed[:, top + 2, left + 2] * right
    return upper * (1 - below) + lower * below


def deform_conv2d(
    x: Array,
    weight: Array,
    offset: Array,
    bias: Array,
    mask: Array | None,
    *,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    groups: int,
    offset_groups: int,
) -> Array:
    """Modulated deformable convolution, as ONNX DeformConv 19 defines it."""
    n, channels = x.shape[:2]
    outputs, _, kernel_height, kernel_width = weight.shape
    height, width = offset.shape[2:]
    taps = kernel_height * kernel_width
    offset = offset.astype(np.float64).reshape(n, offset_groups, taps, 2, height, width)
    shares = np.ones((n, offset_groups, taps, height, width)) if mask is None else mask
    shares = shares.astype(np.float64).reshape(n, offset_groups, taps, height, width)
    rows, columns = np.mgrid[:height, :width]
    samples = np.zeros((n, channels, taps, height, width))
    per_offset_group = channels // offset_groups
    for image in range(n):
        for g in range(offset_groups):
            part = slice(g * per_offset_group, (g + 1) * per_offset_group)
            for tap in range(taps):
                down, right = divmod(tap, kernel_width)
                moved_down, moved_right = offset[image, g, tap]
                ys = rows * strides[0] - pads[0] + down * dilations[0] + moved_down
                xs = columns * strides[1] - pads[1] + right * dilations[1] + moved_right
                samples[image, part, tap] = bilinear(x[image, part], ys, xs) * shares[image, g, tap]
    samples = samples.reshape(n, groups, -1, height, width)
    weight = weight.astype(np.float64).reshape(groups, outputs // groups, -1)
    result = np.einsum("gok,ngkhw->ngohw", weight, samples).reshape(n, outputs, height, width)
    return result + bias.astype(np.float64)[:, None, None]


def adabd(current: Array, reference: Array, offset: Array, mask: Array, weight: Array) -> Array:
    """Shortcut-V2V, equation 6: the sum of two modulated deformable convolutions."""
    plain = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": 1, "offset_groups": 1}
    nothing = np.zeros(weight.shape[0])
    still = np.zeros_like(offset)
    return deform_conv2d(current, weight, still, nothing, mask, **plain) + deform_conv2d(
        reference, weight, offset, nothing, 1 - mask.astype(np.float64), **plain
    )


def cost_volume(first: Array, second: Array, radius: int) -> Array:
    """PWC-Net, section 3: the mean over channels of products, shift by shift."""
    height, width = first.shape[2:]
    framed = np.pad(second.astype(np.float64), ((0, 0), (0, 0), (radius, radius), (radius, radius)))
    span = range(2 * radius + 1)
    shifts = [
        (first.astype(np.float64) * framed[:, :, y : y + height, x : x + width]).mean(1)
        for y in span
        for x in span
    ]
    return np.stack(shifts, 1)


def adacof(image: Array, weight: Array, alpha: Array, beta: Array, dilation: int) -> Array:
    """AdaCoF, equation 3: offsets cut toward zero, the border repeated outside."""
    n, _, height, width = image.shape
    side = round(weight.shape[1] ** 0.5)
    rows, columns = np.mgrid[:height, :width]
    result = np.zeros(image.shape)
    for number in range(n):
        for tap in range(side**2):
            a, b = alpha[number, tap].astype(np.float64), beta[number, tap].astype(np.float64)
            down, right = a - np.trunc(a), b - np.trunc(b)
            top = rows + (tap // side - side // 2) * dilation + np.trunc(a)
            left = columns + (tap % side - side // 2) * dilation + np.trunc(b)
            for i in (0, 1):
                for j in (0, 1):
                    share = (down if i else 1 - down) * (right if j else 1 - right)
                    y = np.clip(top + i, 0, height - 1).astype(int)
                    x = np.clip(left + j, 0, width - 1).astype(int)
                    result[number] += image[number].astype(np.float64)[:, y, x] * share * weight[number, tap]
    return result


def splat(values: Array, flow: Array) -> Array:
    """Softmax Splatting, equations 3 to 6: bilinear shares, summed."""
    n, _, height, width = values.shape
    rows, columns = np.mgrid[:height, :width]
    framed = np.zeros((n, values.shape[1], height + 2, width + 2))
    for number in range(n):
        x = np.clip(columns + flow[number, 0].astype(np.float64), -1, width)
        y = np.clip(rows + flow[number, 1].astype(np.float64), -1, height)
        left, top = (
            np.clip(np.floor(x), -1, width - 1).astype(int),
            np.clip(np.floor(y), -1, height - 1).astype(int),
        )
        for i in (0, 1):
            for j in (0, 1):
                share = (1 - abs(y - top - i)) * (1 - abs(x - left - j))
                for c in range(values.shape[1]):
                    np.add.at(framed[number, c], (top + i + 1, left + j + 1), share * values[number, c])
    return framed[:, :, 1:-1, 1:-1]
