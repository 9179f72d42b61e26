"""Operators of two values at a place, and extremes of a whole tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """The length of (x, y), without squares of large values."""
    large, small = torch.maximum(input.abs(), other.abs()), torch.minimum(input.abs(), other.abs())
    share = small / torch.where(large == 0, torch.ones_like(large), large)
    return large * (1 + share * share).sqrt()


def _but_nan(choose: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def chosen(input: Tensor, other: Tensor) -> Tensor:
        made = choose(input, other)
        return torch.where(input.isnan(), other, torch.where(other.isnan(), input, made))

    return chosen


def _of_all(reduce: Callable[..., Tensor]) -> Callable[..., Any]:
    def reduced(input: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Any:
        if dim or not input.dim():
            return NotImplemented
        return reduce(input, list(range(input.dim())), keepdim)

    return reduced


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The least and the greatest, of a dimension or of all."""
    dims = list(range(input.dim())) if dim is None else [dim]
    return input.amin(dims, keepdim), input.amax(dims, keepdim)


FORMS = {
    _aten.hypot.default: hypot,
    _aten.fmax.default: _but_nan(torch.maximum),
    _aten.fmin.default: _but_nan(torch.minimum),
    _aten.aminmax.default: aminmax,
    _aten.amax.default: _of_all(torch.amax),
    _aten.amin.default: _of_all(torch.amin),
}
"""By operator."""
