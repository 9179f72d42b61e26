"""How far an engine of a lower precision is from what it should compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-20


def sqnr_db(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """Power of the wanted signal over that of the error, in dB; not a number if an error is none.

    Args:
        pairs: (made, wanted) arrays of one tensor, of equal shapes, from one run each.
    """
    signal = noise = 0.0
    for made, wanted in pairs:
        exact = wanted.astype(np.float64)
        signal += float(np.square(exact).sum())
        noise += float(np.square(made.astype(np.float64) - exact).sum())
    return float(10 * np.log10(max(signal, _TINY) / max(noise, _TINY)))


def worst_sqnr_db(made: Sequence[Sequence[NDArray[Any]]], wanted: Sequence[Sequence[NDArray[Any]]]) -> float:
    """`sqnr_db` of the worst tensor of several, over all runs.

    Args:
        made: per run, each tensor.
        wanted: the same, as it should be.
    """
    tensors: Any = zip(zip(*made, strict=True), zip(*wanted, strict=True), strict=True)
    return float(np.min([sqnr_db(zip(ours, theirs, strict=True)) for ours, theirs in tensors]))
