"""How much of a tile's surroundings it needs, so that it becomes what it is in the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeflow.wrap.network import Network
from edgeflow.wrap.reach import Reach

EXACT = 8
"""Pixels up to which the halo is the whole receptive field."""
HALOS = (8, 12, 16, 24, 32, 48, 64)
SEEN = 1 / 1020
"""A difference of pictures in [0, 1], a quarter of a level, that the rest of a receptive field may make."""
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
    network: Network, reach: Reach, frames: Sequence[Tensor], whole: Tensor, peak: float
) -> Halo | None:
    """The halo with which patches of real frames are those of the whole frame; None if none is large enough.

    Args:
        network: that is tiled.
        reach: how far it sees.
        frames: of a call, (1, 3, h, w) each.
        whole: what it makes of them.
        peak: range of what it makes.
    """
    unit = network.form.unit
    if reach.pixels is None or not network.form.scale:
        return None
    field = -(-reach.pixels // unit) * unit
    halos = (
        [field]
        if field <= EXACT
        else sorted({-(-pixels // unit) * unit for pixels in HALOS if pixels <= field})
    )
    for pixels in halos:
        error = _error(network, pixels, frames, whole) / peak
        if error <= SEEN:
            return Halo(pixels, error)
    return None


def _error(network: Network, pixels: int, frames: Sequence[Tensor], whole: Tensor) -> float:
    """Largest difference of patches, one in the middle of the frame and one off it, from the whole frame's."""
    unit, scale = network.form.unit, network.form.scale
    side = -(-(SQUARE + 2 * pixels) // unit) * unit
    height, width = frames[0].shape[-2:]
    if side > min(height, width):
        return float("inf")
    worst = 0.0
    for share in (0.5, 0.85):
        top, left = (int((length - side) * share) // unit * unit for length in (height, width))
        made = network(*(frame[..., top : top + side, left : left + side] for frame in frames))
        inner = slice(scale * pixels, scale * (side - pixels))
        there = whole[..., scale * top :, scale * left :][..., inner, inner]
        worst = max(worst, float((made[..., inner, inner] - there).abs().max()))
    return worst
