"""Which elements of an output a golden vector keeps."""

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
