"""How much of a tile's surroundings it needs, so that it becomes what it is in the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from edgeflow.wrap.network import Network
from edgeflow.wrap.reach import Reach

EXACT = 8
"""Pixels up to which the halo is the whole receptive field."""
HALOS = (8, 12, 16, 24, 32, 48, 64)
SEEN = 1 / 510
"""A difference of pictures in [0, 1], half a level, that the rest of a receptive field may make."""
PLACES = (0.15, 0.5, 0.85)
"""Where patches are compared, of what is left of a side."""
SQUARE = 64
"""Side of the patch that is compared, at the least."""


@dataclass(frozen=True)
class Halo:
    """What a tile holds beyond its patch.

    Attributes:
        pixels: on every side.
        error: largest difference of a patch from the whole frame's, of the range of what is made.
    """

    pixels: int
    error: float


@torch.no_grad()
def halo_of(
    network: Network, reach: Reach, calls: Sequence[Sequence[Tensor]], whole: Sequence[Tensor], peak: float
) -> Halo | None:
    """The halo with which patches of real frames are those of the whole frame; None if none is large enough.

    Args:
        network: that is tiled.
        reach: how far it sees.
        calls: frames (1, 3, h, w) of some calls.
        whole: what it makes of them.
        peak: range of what it makes.
    """
    if reach.everywhere or not network.form.scale:
        return None
    for pixels in _halos(reach, network.form.unit):
        errors = (_error(network, pixels, frames, made) for frames, made in zip(calls, whole, strict=True))
        error = max(errors) / peak
        if error <= SEEN:
            return Halo(pixels, error)
    return None


def _halos(reach: Reach, unit: int) -> list[int]:
    """Halos that are worth a try, smallest first: none is larger than the receptive field."""
    if reach.pixels is None:
        return sorted({_ceiled(pixels, unit) for pixels in HALOS})
    field = _ceiled(reach.pixels, unit)
    if field <= EXACT:
        return [field]
    return sorted({min(_ceiled(pixels, unit), field) for pixels in (*HALOS, field)})


def _ceiled(pixels: int, unit: int) -> int:
    return -(-pixels // unit) * unit


def _error(network: Network, pixels: int, frames: Sequence[Tensor], whole: Tensor) -> float:
    """Largest difference of patches, all over the frame, from the whole frame's."""
    unit, scale = network.form.unit, network.form.scale
    side = _ceiled(SQUARE + 2 * pixels, unit)
    height, width = frames[0].shape[-2:]
    if side > min(height, width):
        return float("inf")
    worst = 0.0
    inner = slice(scale * pixels, scale * (side - pixels))
    for down, across in product(PLACES, PLACES):
        top, left = (
            int((length - side) * at) // unit * unit for length, at in ((height, down), (width, across))
        )
        made = network(*(frame[..., top : top + side, left : left + side] for frame in frames))
        there = whole[..., scale * top :, scale * left :][..., inner, inner]
        worst = max(worst, float((made[..., inner, inner] - there).abs().max()))
    return worst
