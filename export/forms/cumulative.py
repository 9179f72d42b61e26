"""Cumulative maximum, minimum and product in doubling steps: 10 for a thousand places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeflow.export.forms.sizes import known

_aten = torch.ops.aten
_CURE = "give the segment a fixed size, or compute it in another segment"


def _extreme(name: str, beats: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def extreme(input: Tensor, dim: int) -> Any:
        if input.dim() == 0:
            return input.clone(), torch.zeros_like(input, dtype=torch.int64)
        size = known(input.shape[dim], name, _CURE)
        shape = [1] * input.dim()
        shape[dim] = size
        values = input
        places = torch.arange(size, device=input.device).reshape(shape).expand(input.shape)
        step = 1
        while step < size:
            before, after = values.narrow(dim, 0, size - step), values.narrow(dim, step, size - step)
            earlier = (beats(before, after) | before.isnan()) & ~after.isnan()
            values = _shifted(values, torch.where(earlier, before, after), dim, step)
            was, is_ = places.narrow(dim, 0, size - step), places.narrow(dim, step, size - step)
            places = _shifted(places, torch.where(earlier, was, is_), dim, step)
            step *= 2
        return values, places

    return extreme


def cumprod(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """The product of everything up to a place."""
    made = input if dtype is None else input.to(dtype)
    if input.dim() == 0:
        return made.clone()
    size = known(input.shape[dim], "cumprod", _CURE)
    step = 1
    while step < size:
        product = made.narrow(dim, step, size - step) * made.narrow(dim, 0, size - step)
        made = _shifted(made, product, dim, step)
        step *= 2
    return made


def _shifted(values: Tensor, later: Tensor, dim: int, step: int) -> Tensor:
    """The first places as they were, and then others."""
    return torch.cat([values.narrow(dim, 0, step), later], dim)


FORMS = {
    _aten.cummax.default: _extreme("cummax", torch.gt),
    _aten.cummin.default: _extreme("cummin", torch.lt),
    _aten.cumprod.default: cumprod,
}
"""By operator."""
