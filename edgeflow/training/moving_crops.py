"""Small crops in which things move, cut from wide ones: a step sees many scenes, and a teacher what is around them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from edgeflow.training.samples import Samples

SIDE = 32
"""Side of a small crop, in pixels."""
ENOUGH = 400
"""Wide crops; later draws cut from those."""
PLACES = 2
"""Places of a wide crop of which the one is taken where more moves."""


class MovingCrops:
    """Draws small crops; every draw adds a wide one, until there are enough.

    Args:
        wide: draws windows of five frames: two, the target, two.
        teacher: makes the target of the other four, (n, 3, h, w) each; None for the frames alone.
        rng: draws the rest.
    """

    def __init__(
        self, wide: Samples, teacher: Callable[..., Tensor] | None, rng: np.random.Generator
    ) -> None:
        self._wide, self._teacher, self._rng = wide, teacher, rng
        self._known: list[Tensor] = []

    def draw(self, count: int) -> Tensor:
        """Five frames, and with a teacher its picture as a sixth: (5 or 6, count, 3, SIDE, SIDE)."""
        if len(self._known) < ENOUGH:
            self._known.append(self._shown())
        return torch.stack([self._cut() for _ in range(count)], 1)

    @torch.no_grad()
    def _shown(self) -> Tensor:
        """A wide window and what the teacher makes of it: (5 or 6, 3, h, w)."""
        frames = self._wide.crops(1).contiguous()
        if self._teacher is not None:
            frames = torch.cat([frames, self._teacher(*frames[:2], *frames[3:])[None]])
        return frames[:, 0]

    def _cut(self) -> Tensor:
        frames = self._known[self._rng.integers(len(self._known))]
        places = self._rng.integers(frames.shape[-1] - SIDE + 1, size=(PLACES, 2))
        cuts = [frames[..., top : top + SIDE, left : left + SIDE] for top, left in places]
        return max(cuts, key=lambda cut: float((cut[1] - cut[3]).abs().mean()))
