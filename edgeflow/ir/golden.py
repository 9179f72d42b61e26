"""Golden vectors: which elements of an output they keep, and where those of other frame sizes lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 8192
"""Elements of an output that are kept, spread evenly over the whole tensor."""


def sampled(array: NDArray[Any]) -> NDArray[Any]:
    """The elements that a golden keeps: at most `SAMPLES`, flat."""
    flat = array.reshape(-1)
    if flat.size <= SAMPLES:
        return flat
    return flat[np.linspace(0, flat.size - 1, SAMPLES).astype(np.int64)]


def sizes_file(golden: str, kind: str) -> str:
    """Where a graph's golden vectors at other sizes of a kind of frames lie: `HEIGHTxWIDTH/in.NAME`, `HEIGHTxWIDTH/out.NAME`."""
    return f"{golden.removesuffix('.npz')}-{kind}-sizes.npz"
