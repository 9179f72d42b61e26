"""Adaptive pooling: windows that follow the sizes, made of their positions, so that sizes may be free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def _average(axes: int) -> Callable[..., Any]:
    def average(input: Tensor, output_size: Sequence[int]) -> Any:
        outs, sizes = list(output_size), input.shape[-axes:]
        pairs = list(zip(sizes, outs, strict=True))
        if axes < 3 and all(isinstance(size, int) and size % out == 0 for size, out in pairs):
            return NotImplemented
        made = input
        for axis, (size, out) in enumerate(pairs):
            moved = made.movedim(axis - axes, -1) if axis < axes - 1 else made
            shared = torch.matmul(moved, _shares(size, out, input).t())
            made = shared.movedim(-1, axis - axes) if axis < axes - 1 else shared
        return made

    return average


def _maximum(axes: int) -> Callable[..., Any]:
    def maximum(input: Tensor, output_size: Sequence[int]) -> Any:
        sizes, outs = input.shape[-axes:], list(output_size)
        lead = input.dim() - axes
        cut, place = input, None
        for axis, (size, out) in enumerate(zip(sizes, outs, strict=True)):
            rows = _rows(size, out, input)
            dim = lead + 2 * axis
            cut = torch.unflatten(cut.index_select(dim, rows.reshape(-1)), dim, rows.shape)
            place = rows if place is None else place[..., None, None] * size + rows
        order = [*range(lead), *(lead + 2 * i for i in range(axes)), *(lead + 2 * i + 1 for i in range(axes))]
        cut = cut.permute(order).flatten(-axes)
        assert place is not None
        place = place.permute([i - lead for i in order[lead:]]).flatten(-axes)
        first = cut.argmax(-1, keepdim=True)
        return cut.amax(-1), place.expand(cut.shape).gather(-1, first).squeeze(-1)

    return maximum


def _bounds(size: int, out: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """First place and place after the last of every window; (out, 1), int64."""
    step = torch.arange(out, device=like.device)[:, None]
    return step * size // out, ((step + 1) * size + (out - 1)) // out


def _shares(size: int, out: int, like: Tensor) -> Tensor:
    """What every place gives to every window's mean; (out, size)."""
    first, end = _bounds(size, out, like)
    place = torch.arange(size, device=like.device)
    inside = ((place >= first) & (place < end)).to(like.dtype)
    return inside / (end - first).to(like.dtype)


def _rows(size: int, out: int, like: Tensor) -> Tensor:
    """The places of every window, its last one repeated to the length of the longest; (out, length), int64."""
    first, end = _bounds(size, out, like)
    length = (size + out - 1) // out + 1
    return torch.minimum(first + torch.arange(length, device=like.device), end - 1)


FORMS = {
    _aten.adaptive_avg_pool1d.default: _average(1),
    _aten.adaptive_avg_pool2d.default: _average(2),
    _aten._adaptive_avg_pool2d.default: _average(2),
    _aten.adaptive_avg_pool3d.default: _average(3),
    _aten._adaptive_avg_pool3d.default: _average(3),
    _aten.adaptive_max_pool1d.default: _maximum(1),
    _aten.adaptive_max_pool2d.default: _maximum(2),
    _aten.adaptive_max_pool3d.default: _maximum(3),
}
"""By operator."""
