"""Scattering: means as sums over counts, and what is scattered cut to its places."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    """Means, and any reduction that leaves out what was there before."""
    if input.dim() == 0 or (include_self and reduce != "mean"):
        return NotImplemented
    given = _given(src, index)
    counts = torch.zeros_like(input).scatter_add(dim, index, torch.ones_like(given))
    touched = counts > 0
    start = input if include_self else torch.where(touched, torch.full_like(input, _NEUTRAL[reduce]), input)
    if reduce != "mean":
        return start.scatter_reduce(dim, index, given, reduce)
    total = start.scatter_add(dim, index, given)
    return total / (counts + 1 if include_self else counts.clamp(min=1))


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Any:
    """Only as much of the source as there are places."""
    if src.shape == index.shape:
        return NotImplemented
    return input.scatter(dim, index, _given(src, index))


def scatter_value(input: Tensor, dim: int, index: Tensor, value: float) -> Any:
    """One value at every place."""
    return input.scatter(dim, index, torch.full_like(index, value, dtype=input.dtype))


def scatter_with(input: Tensor, dim: int, index: Tensor, src: Tensor, *, reduce: str) -> Any:
    """Added to or multiplied with what was there."""
    return input.scatter_reduce(dim, index, _given(src, index), _REDUCTIONS[reduce])


def scatter_value_with(input: Tensor, dim: int, index: Tensor, value: float, *, reduce: str) -> Any:
    """One value, added to or multiplied with what was there."""
    given = torch.full_like(index, value, dtype=input.dtype)
    return input.scatter_reduce(dim, index, given, _REDUCTIONS[reduce])


def scatter_onnx(op: Any, input: Any, dim: int, index: Any, src: Any) -> Any:
    """`ScatterElements`, which torch.onnx does not use for it."""
    return op.ScatterElements(input, index, src, axis=dim)


def _given(src: Tensor, index: Tensor) -> Tensor:
    for dim, size in enumerate(index.shape):
        if src.shape[dim] is not size and src.shape[dim] != size:
            src = src.narrow(dim, 0, size)
    return src


_NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": float("-inf"), "amin": float("inf")}
_REDUCTIONS = {"add": "sum", "multiply": "prod"}

FORMS = {
    _aten.scatter_reduce.two: scatter_reduce,
    _aten.scatter.src: scatter,
    _aten.scatter.value: scatter_value,
    _aten.scatter.reduce: scatter_with,
    _aten.scatter.value_reduce: scatter_value_with,
}
"""By operator."""
