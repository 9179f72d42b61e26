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
    cudnn_enabled: bool,
) -> Any:
    """In training mode, whose output does not follow the running statistics; else it stays as it is."""
    if not training and running_mean is not None:
        return NotImplemented
    axes = [i for i in range(input.dim()) if i != 1]
    shape = [1, -1, *[1] * (input.dim() - 2)]
    moved = input - input.mean(axes, keepdim=True)
    made = moved * (moved.square().mean(axes, keepdim=True) + eps).rsqrt()
    if weight is not None:
        made = made * weight.reshape(shape)
    return made if bias is None else made + bias.reshape(shape)


FORMS = {_aten.batch_norm.default: batch_norm}
"""By operator."""
