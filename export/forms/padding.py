"""Padding that wraps around as a concatenation, and padding by less than nothing as a cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_aten = torch.ops.aten
_slice = _aten.slice.Tensor


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """`F.pad` of any mode."""
    if mode == "circular":
        return circular(input, pad)
    if all(laid(side) is side for side in pad):
        return NotImplemented
    return cut(F.pad(input, [laid(side) for side in pad], mode, value), pad)


def circular(input: Tensor, pad: Sequence[int]) -> Tensor:
    """What lies at one end goes before the other."""
    made = cut(input, pad)
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = -1 - axis
        first, last = laid(before), laid(after)
        parts = [made] if isinstance(first, int) and first == 0 else [_slice(made, dim, -first), made]
        if not isinstance(last, int) or last > 0:
            parts.append(_slice(made, dim, 0, last))
        made = torch.cat(parts, dim) if len(parts) > 1 else made
    return made


def cut(input: Tensor, pad: Sequence[int]) -> Tensor:
    """Without what sides below nothing take away."""
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        start, end = laid(before) - before, laid(after) - after
        if isinstance(start + end, int) and start + end > 0:
            input = _slice(input, -1 - axis, start, -end if end else None)
    return input


def laid(side: int) -> int:
    """What is laid at a side. Only a number takes away: what follows a free size is at least nothing."""
    return max(side, 0) if isinstance(side, int) else side


def _edges(mode: str) -> Callable[..., Any]:
    def padded(input: Tensor, padding: Sequence[int]) -> Any:
        return pad(input, padding, mode)

    return padded


FORMS = {
    _aten.pad.default: pad,
    _aten._pad_circular.default: circular,
    _aten.replication_pad1d.default: _edges("replicate"),
    _aten.replication_pad2d.default: _edges("replicate"),
    _aten.replication_pad3d.default: _edges("replicate"),
    _aten.reflection_pad1d.default: _edges("reflect"),
    _aten.reflection_pad2d.default: _edges("reflect"),
    _aten.reflection_pad3d.default: _edges("reflect"),
}
"""By operator."""
