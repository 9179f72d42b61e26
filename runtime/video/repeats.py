"""Finds frames that show what the one before showed: animation is often drawn on twos or threes."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

_STEP = 2
_BLOCK = 8
_CHANGED = 3.0
"""Mean difference of a block, in levels, that is more than what an encoder makes of nothing."""


def repeats(previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> bool:
    """Whether no part of a frame differs from the one before by more than coding noise.

    Every second pixel of the green channel is compared, in blocks of 16x16 pixels: what moves in one block is motion.

    Args:
        previous: (h, w, 3) uint8.
        current: the frame after it, of the same size.
    """
    one, other = (frame[::_STEP, ::_STEP, 1].astype(np.int16) for frame in (previous, current))
    changed: NDArray[np.float32] = np.abs(one - other).astype(np.float32)
    sums = reduce(_summed, (0, 1), changed)
    counts = reduce(_summed, (0, 1), np.ones_like(changed))
    return float((sums / counts).max()) < _CHANGED


def _summed(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Sums of blocks along an axis."""
    made: NDArray[np.float32] = np.add.reduceat(values, np.arange(0, values.shape[axis], _BLOCK), axis)
    return made
