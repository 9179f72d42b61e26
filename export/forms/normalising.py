"""Batch normalisation by the batch's own statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Any:
    """In training mode; else it stays as it is."""
    if not training and running_mean is not None:
        return NotImplemented
    return functional(input, weight, bias, running_mean, running_var, True, momentum, eps)[0]


def functional(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """The output, the batch's mean and inverse deviation, and the running statistics after it."""
    if not training:
        return NotImplemented
    axes = [i for i in range(input.dim()) if i != 1]
    shape = [1, -1, *[1] * (input.dim() - 2)]
    mean = input.mean(axes, keepdim=True)
    variance = (input - mean).square().mean(axes, keepdim=True)
    scale = (variance + eps).rsqrt()
    made = (input - mean) * scale
    if weight is not None:
        made = made * weight.reshape(shape)
    if bias is not None:
        made = made + bias.reshape(shape)
    results = made, mean.reshape(-1), scale.reshape(-1)
    if running_mean is None or running_var is None:
        return results
    count = input.numel() // input.shape[1]
    unbiased = variance.reshape(-1) * count / (count - 1)
    moved = (1 - momentum) * running_mean + momentum * mean.reshape(-1)
    spread = (1 - momentum) * running_var + momentum * unbiased
    return (*results, moved, spread)


def without_statistics(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> Any:
    """The output, and the batch's mean and inverse deviation."""
    return functional(input, weight, bias, None, None, True, momentum, eps)


FORMS = {
    _aten.batch_norm.default: batch_norm,
    _aten._native_batch_norm_legit_functional.default: functional,
    _aten._native_batch_norm_legit.no_stats: without_statistics,
}
"""By operator; the first is what the capture holds, and becomes one of the others."""
