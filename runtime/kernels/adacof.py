"""AdaCoF in one pass: each kernel value is read once, and a pixel's sum stays in registers' reach.

Source: AdaCoF, Eq. 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.kernels.team import team

LANES = 4
"""Channels that lie together: a pixel of a colour picture is one vector register."""
BAND = 4
"""Rows of pixels that a thread takes at a time."""


class AdaCoFEngine:
    """Runs `edgeflow::adacof` of dilation 1 for inputs (image, weight, alpha, beta), each (n, ., h, w) float32.

    Args:
        constants: none.
        threads: of a run.
    """

    def __init__(self, constants: Mapping[str, NDArray[np.float32]], threads: int) -> None:
        self._team, self._threads = team(threads), threads
        self._maps: dict[tuple[int, ...], NDArray[np.float32]] = {}
        self._ms = 0.0
        one = [np.zeros((1, n, 1, 1), np.float32) for n in (3, 1, 1, 1)]
        self.run(one, [np.zeros((1, 3, 1, 1), np.float32)])  # compiles
        self._maps.clear()
        self._ms = 0.0

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`."""
        start = perf_counter()
        image, weight, alpha, beta = inputs
        _, channels, height, width = image.shape
        groups = -(-channels // LANES)
        if (groups, height, width) not in self._maps:
            self._maps[groups, height, width] = np.zeros((groups, height + 2, width + 2, LANES), np.float32)
        bordered = self._maps[groups, height, width]
        sums = np.empty((self._threads, width, LANES), np.float32)
        for row in range(len(image)):
            kernels = (weight[row], alpha[row], beta[row])

            def lay(turn: int, thread: int, source: Any = image[row]) -> None:
                channels_last(source, bordered, turn * BAND)

            def compute(turn: int, thread: int, kernels: Any = kernels, made: Any = outputs[0][row]) -> None:
                band(bordered, *kernels, sums[thread], made, turn * BAND)

            self._team.each(-(-(height + 2) // BAND), lay)
            self._team.each(-(-height // BAND), compute)
        self._ms += (perf_counter() - start) * 1e3

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`."""
        return (OperatorTime("AdaCoF kernel", self._ms),)


KERNEL = AdaCoFEngine


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def channels_last(source: Any, made: Any, top: int) -> None:
    """A band of (c, h, w) to (groups, h + 2, w + 2, lanes), with its border once more on every side."""
    channels, height, width = source.shape
    for c in range(channels):
        for y in range(top, min(top + BAND, height + 2)):
            line = source[c, min(max(y - 1, 0), height - 1)]
            own = made[c // LANES, y]
            own[0, c % LANES] = line[0]
            for x in range(width):
                own[x + 1, c % LANES] = line[x]
            own[width + 1, c % LANES] = line[width - 1]


@njit(nogil=True, cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def band(bordered: Any, weight: Any, alpha: Any, beta: Any, sums: Any, made: Any, top: int) -> None:
    """A band of the result, row by row; the taps one after another, so that kernels are read as they lie."""
    taps, height, width = weight.shape
    side = int(np.sqrt(taps) + 0.5)
    for group in range(bordered.shape[0]):
        picture = bordered[group]
        for y in range(top, min(top + BAND, height)):
            sums[:] = np.float32(0)
            for tap in range(taps):
                i, j = tap // side - side // 2, tap % side - side // 2
                for x in range(width):
                    above, down = _split(y + i, alpha[tap, y, x], height)
                    left, right = _split(x + j, beta[tap, y, x], width)
                    lower = weight[tap, y, x] * down
                    upper = weight[tap, y, x] - lower
                    b, d = upper * right, lower * right
                    a, c = upper - b, lower - d
                    for n in range(LANES):
                        sums[x, n] += (
                            a * picture[above, left, n]
                            + b * picture[above, left + 1, n]
                            + c * picture[above + 1, left, n]
                            + d * picture[above + 1, left + 1, n]
                        )
            for c in range(min(LANES, made.shape[0] - group * LANES)):
                for x in range(width):
                    made[group * LANES + c, y, x] = sums[x, c]


@njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _split(start: Any, offset: Any, size: Any) -> Any:
    """The bordered pixel that an offset points to, cut toward zero, and the share of the next: NaN where the offset is not finite."""
    far = np.float32(2 * size + 256)
    near = offset
    if not near > -far:
        near = -far
    if near > far:
        near = far
    whole = np.int32(near)
    return min(max(start + whole, -1), size - 1) + 1, near - np.float32(whole) + (offset - offset)
