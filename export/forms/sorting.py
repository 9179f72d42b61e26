"""Sorting and what is found by it, as the first k of an order (TopK)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def sort(input: Tensor, dim: int = -1, descending: bool = False) -> Any:
    """All of a dimension in order; where equal ones lay is told in any order, as torch does."""
    if input.dim() == 0:
        return input.clone(), torch.zeros_like(input, dtype=torch.int64)
    return torch.topk(input, input.shape[dim], dim, descending, True)


def sort_stable(input: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False) -> Any:
    """Equal values as they lay: their places are sorted once more within every run of them."""
    values, places = sort(input, dim, descending)
    if not stable or input.dim() == 0:
        return values, places
    size = input.shape[dim]
    fresh = values.narrow(dim, 1, size - 1) != values.narrow(dim, 0, size - 1)
    run = torch.cat([torch.zeros_like(places.narrow(dim, 0, 1)), fresh.to(torch.int64).cumsum(dim)], dim)
    ordered = torch.topk(run * size + places, size, dim, False, True)[0]
    return values, ordered - run * size  # runs rise, so their order stays


def argsort(input: Tensor, dim: int = -1, descending: bool = False) -> Any:
    """Where the sorted values lay."""
    return sort(input, dim, descending)[1]


def argsort_stable(input: Tensor, *, stable: bool, dim: int = -1, descending: bool = False) -> Any:
    """Where the sorted values lay, equal ones as they did."""
    return sort_stable(input, stable=stable, dim=dim, descending=descending)[1]


def msort(input: Tensor) -> Any:
    """Sorted along the first dimension."""
    return sort(input, 0)[0]


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest along a dimension, and its place."""
    if input.dim() == 0:
        return input.clone(), torch.zeros_like(input, dtype=torch.int64)
    values, places = torch.topk(input, k, dim, False, True)
    value, place = values.narrow(dim, k - 1, 1), places.narrow(dim, k - 1, 1)
    return (value, place) if keepdim else (value.squeeze(dim), place.squeeze(dim))


def median_along(input: Tensor, dim: int, keepdim: bool = False) -> Any:
    """The lower of the two in the middle, and its place."""
    size = input.shape[dim] if input.dim() else 1
    return kthvalue(input, (size - 1) // 2 + 1, dim, keepdim)


def median(input: Tensor) -> Any:
    """The median of all."""
    return median_along(input.reshape(-1), 0)[0]


FORMS = {
    _aten.sort.default: sort,
    _aten.sort.stable: sort_stable,
    _aten.argsort.default: argsort,
    _aten.argsort.stable: argsort_stable,
    _aten.msort.default: msort,
    _aten.kthvalue.default: kthvalue,
    _aten.median.default: median,
    _aten.median.dim: median_along,
}
"""By operator."""
