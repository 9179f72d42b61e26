"""Losses, which deployed segments seldom hold: cross entropy with probabilities instead of classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """Refused where the target holds probabilities: ONNX's loss takes classes only.

    Raises:
        ValueError: it does.
    """
    if target.is_floating_point():
        raise ValueError(
            "cross_entropy of probabilities has no ONNX form: write -(target * input.log_softmax(1)).sum(1).mean()"
        )
    return NotImplemented


FORMS = {_aten.cross_entropy_loss.default: cross_entropy}
"""By operator."""
