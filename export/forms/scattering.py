"""Scattering means: sums over counts."""

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
    given = src[tuple(slice(0, size) for size in index.shape)]
    counts = torch.zeros_like(input).scatter_add(dim, index, torch.ones_like(given))
    touched = counts > 0
    start = input if include_self else torch.where(touched, torch.full_like(input, _NEUTRAL[reduce]), input)
    if reduce != "mean":
        return start.scatter_reduce(dim, index, given, reduce)
    total = start.scatter_add(dim, index, given)
    return total / (counts + 1 if include_self else counts.clamp(min=1))


_NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": float("-inf"), "amin": float("inf")}

FORMS = {_aten.scatter_reduce.two: scatter_reduce}
"""By operator."""
