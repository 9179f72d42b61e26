"""Sampling volumes, as tables of colours and bilateral grids do: gathers of the eight corners.

ONNX has no sampling of volumes at opset 19, OpenVINO and TensorRT none at all. Coordinates are unnormalised, clipped and reflected as in
torch's `GridSampler.h`.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

_ZEROS, _BORDER, _REFLECTION = 0, 1, 2


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Any:
    """Volumes (n, c, d, h, w) at places (n, d', h', w', 3), by their eight neighbours or the nearest one."""
    if input.dim() != 5:
        return NotImplemented
    sizes = input.shape[:1:-1]  # width first, as places have them
    places = [
        _padded(_pixels(grid[..., axis], size, align_corners), size, padding_mode, align_corners)
        for axis, size in enumerate(sizes)
    ]
    if interpolation_mode == 1:
        return _at(input, [place.round() for place in places], padding_mode)
    low = [place.floor() for place in places]
    result: Any = 0.0
    for corner in product((0, 1), repeat=3):
        weight: Any = 1.0
        for place, floor, upper in zip(places, low, corner, strict=True):
            weight = weight * (place - floor if upper else floor + 1 - place)
        found = _at(input, [floor + upper for floor, upper in zip(low, corner, strict=True)], padding_mode)
        result = result + found * weight[:, None]
    return result


def _pixels(place: Tensor, size: int, align_corners: bool) -> Tensor:
    """Places in [-1, 1] as numbers of pixels."""
    return (place + 1) / 2 * (size - 1) if align_corners else ((place + 1) * size - 1) / 2


def _padded(place: Tensor, size: int, padding_mode: int, align_corners: bool) -> Tensor:
    if padding_mode == _ZEROS:
        return place
    if padding_mode == _REFLECTION:
        least, span = (0.0, size - 1) if align_corners else (-0.5, size)
        away = (place - least).abs()
        turns, rest = (away / max(span, 1)).floor(), away - (away / max(span, 1)).floor() * span
        place = torch.where(turns % 2 == 0, rest, span - rest) + least
    return place.clamp(0, size - 1)


def _at(input: Tensor, corner: list[Tensor], padding_mode: int) -> Tensor:
    """Values (n, c, d', h', w') at whole places; none outside counts as zero."""
    n, c, depth, height, width = input.shape
    inside = [place.clamp(0, size - 1) for place, size in zip(corner, (width, height, depth), strict=True)]
    x, y, z = (place.long() for place in inside)
    flat = ((z * height + y) * width + x).reshape(n, 1, -1).expand(n, c, -1)
    found = input.reshape(n, c, depth * height * width).gather(2, flat).reshape(n, c, *x.shape[1:])
    if padding_mode == _ZEROS:
        held = [(place == own) for place, own in zip(corner, inside, strict=True)]
        found = found * (held[0] & held[1] & held[2])[:, None].to(found.dtype)
    return found


FORMS = {torch.ops.aten.grid_sampler.default: grid_sampler}
