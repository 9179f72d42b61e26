"""Antialiased resizing as two matrix products, with the weights that torch takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def triangle(x: Tensor) -> Tensor:
    """Weights of linear resizing, by the distance in source pixels."""
    return (1 - x.abs()).clamp(min=0)


def cubic(x: Tensor) -> Tensor:
    """Weights of cubic resizing with antialiasing, by the distance in source pixels."""
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _with_sizes(weights: Callable[[Tensor], Tensor], reach: int) -> Callable[..., Any]:
    def resized(
        input: Tensor,
        output_size: Sequence[int],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Tensor:
        height, width = output_size
        rows = matrix(weights, reach, input.shape[-2], height, align_corners, scales_h, input)
        columns = matrix(weights, reach, input.shape[-1], width, align_corners, scales_w, input)
        return torch.matmul(rows, torch.matmul(input, columns.t()))

    return resized


def _with_factors(weights: Callable[[Tensor], Tensor], reach: int) -> Callable[..., Any]:
    sized = _with_sizes(weights, reach)

    def resized(
        input: Tensor,
        output_size: Sequence[int] | None,
        align_corners: bool,
        scale_factors: Sequence[float] | None,
    ) -> Any:
        if output_size is not None:
            return sized(input, output_size, align_corners)
        assert scale_factors is not None
        sizes = [
            int(size * factor) if isinstance(size, int) else torch.sym_int(size * factor)
            for size, factor in zip(input.shape[-2:], scale_factors, strict=True)
        ]
        return sized(input, sizes, align_corners, *scale_factors)

    return resized


def matrix(
    weights: Callable[[Tensor], Tensor],
    reach: int,
    size: int,
    out: int,
    align_corners: bool,
    factor: float | None,
    like: Tensor,
) -> Tensor:
    """What every source pixel gives to every pixel made.

    Args:
        weights: by the distance in source pixels, or in pixels made where those are larger.
        reach: how many pixels wide the weights are.
        size: source pixels along the axis.
        out: pixels to make.
        align_corners: as torch takes it.
        factor: of the resize, if it was given.
        like: type and device.

    Returns:
        (out, size).
    """
    one = torch.ones(1, 1, dtype=like.dtype, device=like.device)
    if align_corners:
        scale = one * (size - 1) / (out - 1) if out > 1 else one * 0
    else:
        scale = one / factor if factor is not None and factor > 0 else one * size / out
    wide = scale.clamp(min=1)
    made = torch.arange(out, dtype=like.dtype, device=like.device)[:, None]
    source = torch.arange(size, dtype=like.dtype, device=like.device)[None]
    centre, half = scale * (made + 0.5), wide * (reach / 2)
    # Torch takes the pixels from `first` to before `end`, both rounded towards zero.
    first, end = (centre - half + 0.5).clamp(min=0).floor(), (centre + half + 0.5).floor()
    share = weights((source - centre + 0.5) / wide)
    share = torch.where((source >= first) & (source < end), share, torch.zeros_like(share))
    return share / share.sum(1, keepdim=True)


FORMS = {
    _aten._upsample_bilinear2d_aa.default: _with_sizes(triangle, 2),
    _aten._upsample_bilinear2d_aa.vec: _with_factors(triangle, 2),
    _aten._upsample_bicubic2d_aa.default: _with_sizes(cubic, 4),
    _aten._upsample_bicubic2d_aa.vec: _with_factors(cubic, 4),
}
"""By operator."""
