"""Every operator once more, pixel by pixel in numpy: what all other implementations are held to."""

from itertools import product
from math import floor

import numpy as np


def bilinear(image, y, x):
    """image (c, h, w) at (y, x); zero outside."""
    c, height, width = image.shape
    value = np.zeros(c)
    if not (-1 < y < height and -1 < x < width):
        return value
    top, left = floor(y), floor(x)
    for v, u in product((top, top + 1), (left, left + 1)):
        if 0 <= v < height and 0 <= u < width:
            value += (1 - abs(y - v)) * (1 - abs(x - u)) * image[:, v, u]
    return value


def deform_conv(input, offset, weight, bias, mask, stride, padding, dilation):
    n, c, _, _ = input.shape
    o, inside, kh, kw = weight.shape
    _, _, high, wide = offset.shape
    groups, moved = c // inside, offset.shape[1] // (2 * kh * kw)
    out = np.zeros((n, o, high, wide))
    for b, y, x in product(range(n), range(high), range(wide)):
        column = np.zeros((c, kh, kw))
        for g, i, j in product(range(moved), range(kh), range(kw)):
            tap = (g * kh + i) * kw + j
            dy, dx = offset[b, 2 * tap, y, x], offset[b, 2 * tap + 1, y, x]
            own = slice(g * c // moved, (g + 1) * c // moved)
            at = (
                y * stride[0] - padding[0] + i * dilation[0] + dy,
                x * stride[1] - padding[1] + j * dilation[1] + dx,
            )
            scale = 1 if mask is None else mask[b, tap, y, x]
            column[own, i, j] = scale * bilinear(input[b, own], *at)
        for k in range(o):
            first = k // (o // groups) * inside
            out[b, k, y, x] = (weight[k] * column[first : first + inside]).sum()
    return out if bias is None else out + bias[:, None, None]


def adabd(current, reference, offset, mask, weight):
    """Eq. 6: two convolutions, one with offsets and one without, whose masks add up to one."""
    plain = (None, mask, (1, 1), (1, 1), (1, 1))
    moved = (None, 1 - mask, (1, 1), (1, 1), (1, 1))
    return deform_conv(current, 0 * offset, weight, *plain) + deform_conv(reference, offset, weight, *moved)


def convolution(x, weight, bias, groups, padding):
    n, c, height, width = x.shape
    still = np.zeros((n, 2 * weight.shape[2] * weight.shape[3], height, width))
    o, per = len(weight), len(weight) // groups
    parts = []
    for g in range(groups):
        own = slice(g * c // groups, (g + 1) * c // groups)
        rows = slice(g * per, (g + 1) * per)
        sides = ((1, 1), (padding, padding), (1, 1))
        parts.append(deform_conv(x[:, own], still, weight[rows], bias[rows], None, *sides))
    assert sum(part.shape[1] for part in parts) == o
    return np.concatenate(parts, 1)


def cost_volume(first, second, radius):
    count, _, height, width = first.shape
    side = 2 * radius + 1
    out = np.zeros((count, side**2, height, width))
    for n, dy, dx, y, x in product(range(count), range(side), range(side), range(height), range(width)):
        v, u = y + dy - radius, x + dx - radius
        if 0 <= v < height and 0 <= u < width:
            out[n, dy * side + dx, y, x] = (first[n, :, y, x] * second[n, :, v, u]).mean()
    return out


def warp(image, flow):
    count, _, height, width = image.shape
    out = np.zeros(image.shape)
    for n, y, x in product(range(count), range(height), range(width)):
        u, v = x + flow[n, 0, y, x], y + flow[n, 1, y, x]
        if 0 <= u <= width - 1 and 0 <= v <= height - 1:
            out[n, :, y, x] = bilinear(image[n], v, u)
    return out


def bicubic(image, height, width):
    """Keys' kernel with A = -0.75, half-pixel centres, edges repeated."""
    n, c, h, w = image.shape
    out = np.zeros((n, c, height, width))
    for y, x in product(range(height), range(width)):
        v, u = (y + 0.5) * h / height - 0.5, (x + 0.5) * w / width - 0.5
        for i, j in product(range(-1, 3), repeat=2):
            row, column = floor(v) + i, floor(u) + j
            share = keys(v - row) * keys(u - column)
            out[:, :, y, x] += share * image[:, :, min(max(row, 0), h - 1), min(max(column, 0), w - 1)]
    return out


def keys(x, a=-0.75):
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def adacof(image, weight, alpha, beta, dilation=1):
    """Every tap's four corners; offsets are cut toward zero, places outside are the border's."""
    n, c, height, width = image.shape
    side = int(weight.shape[1] ** 0.5)
    out = np.zeros((n, c, height, width))

    def read(b, y, x):
        return image[b, :, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    for b, tap, y, x in product(range(n), range(side**2), range(height), range(width)):
        a, o = alpha[b, tap, y, x], beta[b, tap, y, x]
        down, right = a - int(a), o - int(o)
        v = y + (tap // side - side // 2) * dilation + int(a)
        u = x + (tap % side - side // 2) * dilation + int(o)
        for i, j in product((0, 1), repeat=2):
            share = (down if i else 1 - down) * (right if j else 1 - right)
            out[b, :, y, x] += weight[b, tap, y, x] * share * read(b, v + i, u + j)
    return out


def splat(values, flow):
    n, _, height, width = values.shape
    out = np.zeros(values.shape)
    for b, y, x in product(range(n), range(height), range(width)):
        u, v = x + flow[b, 0, y, x], y + flow[b, 1, y, x]
        left, top = floor(u), floor(v)
        for i, j in product((0, 1), repeat=2):
            if 0 <= top + i < height and 0 <= left + j < width:
                share = (1 - abs(v - top - i)) * (1 - abs(u - left - j))
                out[b, :, top + i, left + j] += share * values[b, :, y, x]
    return out


def softmax_splat(image, flow, metric):
    sums, total = splat(image * np.exp(metric), flow), splat(np.exp(metric), flow)
    return sums / np.where(total == 0, 1, total)


def upsample8(image):
    """Down first, then across; mirrored at the border."""
    filter = np.array([-1, 4, -11, 40, 40, -11, 4, -1]) / 64

    def twice(lines):
        count = len(lines)
        mirrored = [min(abs(i), 2 * (count - 1) - abs(i)) for i in range(-3, count + 4)]
        made = np.zeros((2 * count, *lines.shape[1:]))
        made[::2] = lines
        for i in range(count):
            made[2 * i + 1] = np.tensordot(filter, lines[mirrored[i : i + 8]], 1)
        return made

    tall = twice(image.transpose(2, 0, 1, 3))  # (2 h, n, c, w)
    return twice(tall.transpose(3, 1, 2, 0)).transpose(1, 2, 3, 0)
