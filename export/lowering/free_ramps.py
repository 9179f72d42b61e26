"""Ramps of as many steps as a frame has rows or columns, with the frame's size left free.

torch's capture makes the steps of `linspace`, and the size that `affine_grid` is given, Python numbers. Networks that warp write their
grids with them, so while a segment is captured, and only where steps are symbols, they are made of `arange`, which stays symbolic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class FreeRamps(TorchFunctionMode):
    """Within it, ramps follow symbolic sizes."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), keywords: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        form = _FORMS.get(function)
        made = NotImplemented if form is None else form(*args, **keywords)
        return function(*args, **keywords) if made is NotImplemented else made


def linspace(
    start: Any, end: Any, steps: Any, *, dtype: Any = None, device: Any = None, **others: Any
) -> Any:
    """From both ends to the middle, as torch's kernel goes, so that the values are the same."""
    if not isinstance(steps, torch.SymInt) or others.keys() - {"requires_grad"}:
        return NotImplemented
    if not all(isinstance(limit, int | float) for limit in (start, end)):
        return NotImplemented
    places = _counted(steps, device).to(dtype or torch.get_default_dtype())
    last = places[-1:]
    step = (end - start) / last
    return torch.where(places < (last + 1) // 2, start + step * places, end - step * (last - places))


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Any:
    """Places (n, h, w, 2) of a picture's pixels under affine maps (n, 2, 3)."""
    if len(size) != 4 or not any(isinstance(side, torch.SymInt) for side in size[2:]):
        return NotImplemented
    height, width = size[2:]
    down, across = (_pixels(side, bool(align_corners), theta) for side in (height, width))
    x, y = across[None].expand(height, width), down[:, None].expand(height, width)
    places = torch.stack((x, y, torch.ones_like(x)), -1).reshape(1, height * width, 3)
    return (places @ theta.transpose(1, 2)).reshape(-1, height, width, 2)


def _pixels(side: Any, align_corners: bool, like: Tensor) -> Tensor:
    """The middles of pixels over [-1, 1], or with the outermost ones on its ends."""
    places = _counted(side, like.device).to(like.dtype)
    last = places[-1:]
    return places * 2 / last - 1 if align_corners else (places * 2 + 1) / (last + 1) - 1


def _counted(count: Any, device: Any) -> Tensor:
    """0, 1, ... as many as a symbol says."""
    return torch.arange(count, device=device)


_FORMS: dict[Any, Callable[..., Any]] = {
    torch.linspace: linspace,
    torch.affine_grid_generator: affine_grid,
    F.affine_grid: affine_grid,
}
