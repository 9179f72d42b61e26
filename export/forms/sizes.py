"""Sizes that a form must know as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def known(size: int | torch.SymInt, operator: str, cure: str) -> int:
    """A size that does not follow the frame's or the number of tiles.

    Raises:
        ValueError: it does; names the operator and what to do.
    """
    if isinstance(size, int):
        return size
    raise ValueError(f"{operator} along a dimension of free size has no ONNX form: {cure}")


def spread(values: Sequence[int], axes: int) -> list[int]:
    """One value per axis, as torch's pooling takes a single one for all."""
    return list(values) if len(values) == axes else list(values) * axes
