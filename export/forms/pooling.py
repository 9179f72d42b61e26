"""Pooling in ceil mode or with a divisor: the padding is laid around the input, and windows are counted here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from edgeflow.export.forms.sizes import spread

_aten = torch.ops.aten
_AVERAGES = {1: _aten.avg_pool1d.default, 2: _aten.avg_pool2d.default, 3: _aten.avg_pool3d.default}
_MAXIMA = {
    1: _aten.max_pool1d.default,
    2: _aten.max_pool2d.default,
    3: _aten.max_pool3d.default,
}
_PLACED = {2: _aten.max_pool2d_with_indices.default, 3: _aten.max_pool3d_with_indices.default}


def _average(axes: int) -> Callable[..., Any]:
    def average(
        input: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        kernel, pads = spread(kernel_size, axes), spread(padding, axes)
        strides = spread(stride, axes) if stride else kernel
        if divisor_override is None and not ceil_mode:
            return NotImplemented
        sizes = input.shape[-axes:]
        outs = [
            windows(size, k, s, p, 1, ceil_mode)
            for size, k, s, p in zip(sizes, kernel, strides, pads, strict=True)
        ]
        padded = _aten.constant_pad_nd.default(input, _around(pads, strides))
        means = _first(_AVERAGES[axes](padded, kernel, strides), outs)
        area = 1
        for k in kernel:
            area *= k
        if divisor_override is not None:
            return means * (area / divisor_override)
        for axis in range(axes):
            counted = _counts(
                sizes[axis], outs[axis], kernel[axis], strides[axis], pads[axis], count_include_pad, input
            )
            means = means * (kernel[axis] / counted).reshape(-1, *[1] * (axes - 1 - axis))
        return means

    return average


def _maximum(axes: int) -> Callable[..., Any]:
    def maximum(
        input: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> Any:
        if not ceil_mode:
            return NotImplemented
        settings = _settings(axes, kernel_size, stride, padding, dilation)
        kernel, strides, pads, dilations = settings
        padded = _aten.constant_pad_nd.default(input, _around(pads, strides), float("-inf"))
        return _first(_MAXIMA[axes](padded, kernel, strides, [0] * axes, dilations), _outs(input, settings))

    return maximum


def _placed_maximum(axes: int) -> Callable[..., Any]:
    def maximum(
        input: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> Any:
        if not ceil_mode:
            return NotImplemented
        settings = _settings(axes, kernel_size, stride, padding, dilation)
        kernel, strides, pads, dilations = settings
        padded = _aten.constant_pad_nd.default(input, _around(pads, strides), float("-inf"))
        made, places = _PLACED[axes](padded, kernel, strides, [0] * axes, dilations)
        outs = _outs(input, settings)
        return _first(made, outs), _unpadded(input, pads, strides)[_first(places, outs)]

    return maximum


def windows(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows torch lays along an axis: in ceil mode the last one starts in the input or before it."""
    reach = size + 2 * pad - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return reach // stride + 1
    count = (reach + stride - 1) // stride + 1
    return count - 1 if (count - 1) * stride >= size + pad else count


def _settings(axes: int, *settings: Sequence[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Kernel, stride, padding and dilation per axis."""
    kernel, stride, padding, dilation = settings
    return (
        spread(kernel, axes),
        spread(stride, axes) if stride else spread(kernel, axes),
        spread(padding, axes),
        spread(dilation, axes),
    )


def _outs(input: Tensor, settings: tuple[list[int], list[int], list[int], list[int]]) -> list[int]:
    sizes = input.shape[-len(settings[0]) :]
    return [windows(*each, True) for each in zip(sizes, *settings, strict=True)]


def _around(pads: Sequence[int], strides: Sequence[int]) -> list[int]:
    """What is laid around the input so that every window lies inside, last axis first."""
    return [side for p, s in reversed(list(zip(pads, strides, strict=True))) for side in (p, p + s - 1)]


def _unpadded(input: Tensor, pads: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Where every place of a padded plane lies in the plane itself, both counted row by row; int64."""
    table = torch.zeros(1, dtype=torch.int64, device=input.device)
    for size, pad, stride in zip(input.shape[-len(pads) :], pads, strides, strict=True):
        along = torch.arange(size + 2 * pad + stride - 1, device=input.device) - pad
        table = (table[:, None] * size + along).reshape(-1)
    return table


def _first(made: Tensor, outs: Sequence[int]) -> Tensor:
    """Without windows that start beyond the input."""
    for axis, out in enumerate(outs):
        dim = axis - len(outs)
        if not isinstance(out, int) or out < made.shape[dim]:
            made = made.narrow(dim, 0, out)
    return made


def _counts(
    size: int, out: int, kernel: int, stride: int, pad: int, padding_counts: bool, like: Tensor
) -> Tensor:
    """How many places of every window along an axis are counted."""
    first = torch.arange(out, dtype=like.dtype, device=like.device) * stride - pad
    last = (first + kernel).clamp(max=size + pad)
    return last - first if padding_counts else last.clamp(max=size) - first.clamp(min=0)


FORMS = {
    **{overload: _average(axes) for axes, overload in _AVERAGES.items()},
    **{overload: _maximum(axes) for axes, overload in _MAXIMA.items()},
    **{overload: _placed_maximum(axes) for axes, overload in _PLACED.items()},
}
"""By operator."""
