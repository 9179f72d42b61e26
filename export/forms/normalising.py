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
    if not training and running_mean is not None and running_var is not None:
        fixed = _scaled(input, running_mean, (running_var + eps).rsqrt(), weight, bias)
        return fixed, input.new_empty(0), input.new_empty(0), running_mean, running_var
    axes = [i for i in range(input.dim()) if i != 1]
    mean = input.mean(axes)
    variance = (input - _along(mean, input)).square().mean(axes)
    scale = (variance + eps).rsqrt()
    results = _scaled(input, mean, scale, weight, bias), mean, scale
    if running_mean is None or running_var is None:
        return results
    count = input.numel() // input.shape[1]
    unbiased = variance * count / (count - 1)
    moved = (1 - momentum) * running_mean + momentum * mean
    spread = (1 - momentum) * running_var + momentum * unbiased
    return (*results, moved, spread)


def without_statistics(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> Any:
    """The output, and the batch's mean and inverse deviation."""
    return functional(input, weight, bias, None, None, True, momentum, eps)


def native(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """The output, and the batch's mean and inverse deviation."""
    return functional(input, weight, bias, running_mean, running_var, training, momentum, eps)[:3]


def _scaled(input: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    made = (input - _along(mean, input)) * _along(scale, input)
    if weight is not None:
        made = made * _along(weight, input)
    return made if bias is None else made + _along(bias, input)


def _along(channels: Tensor, input: Tensor) -> Tensor:
    """Values per channel, shaped to meet the input."""
    return channels.reshape([1, -1, *[1] * (input.dim() - 2)])


FORMS = {
    _aten.batch_norm.default: batch_norm,
    _aten.native_batch_norm.default: native,
    _aten._native_batch_norm_legit.default: native,
    _aten._native_batch_norm_legit_functional.default: functional,
    _aten._native_batch_norm_legit.no_stats: without_statistics,
}
"""By operator; the first becomes one of the others."""
