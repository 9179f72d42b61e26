"""bfloat16 in numpy, which has no such type: arrays hold its bits as uint16.

A bfloat16 is the upper half of a float32: its sign, its exponent, and the first 7 bits of its fraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BFLOAT16 = "bfloat16"


def held(dtype: str) -> np.dtype[Any]:
    """Type of the numpy arrays that hold tensors of a port's type."""
    return np.dtype(np.uint16 if dtype == BFLOAT16 else dtype)


def to_held(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Values as an array of `held(dtype)`; to bfloat16 they are rounded to nearest, ties to even."""
    if dtype != BFLOAT16:
        return values.astype(dtype)
    single = values.astype(np.float32)
    bits = single.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16  # inf stays; beyond the largest number comes inf
    return np.where(np.isnan(single), 0x7FC0, rounded).astype(np.uint16)


def from_held(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Inverse of `to_held`: bfloat16 comes back as float32, which holds it exactly; other types as they are."""
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == BFLOAT16 else array
