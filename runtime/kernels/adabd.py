"""AdaBD in one pass: bilinear weights once per tap and pixel, blended columns in cache, one product.

Source: Shortcut-V2V, Eq. 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edgeflow.ir.errors import BackendError
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.kernels.product import COLUMNS, ROWS, multiply, packed
from edgeflow.runtime.kernels.team import team

PIXELS = 8 * ROWS
"""Pixels of a row whose columns are in cache at once: 110 KB for 64 channels."""
BAND = 4
"""Rows of pixels that a thread takes at a time."""
TAPS = 9


class AdaBDEngine:
    """Runs `edgeflow::adabd` for inputs (current, reference, offset, mask), each (n, ., h, w) float32.

    Args:
        constants: `weight`, (o, c, 3, 3).
        threads: of a run.
    """

    def __init__(self, constants: Mapping[str, NDArray[np.float32]], threads: int) -> None:
        weight = constants.get("weight", np.zeros(0, np.float32))
        if weight.ndim != 4 or weight.shape[2:] != (3, 3):
            raise BackendError(
                f"the kernel adabd wants a weight of (o, c, 3, 3), the bundle has {weight.shape}: export it again"
            )
        self._outputs, self._channels = weight.shape[:2]
        self._weight = packed(weight.transpose(2, 3, 1, 0).reshape(TAPS * self._channels, -1))
        self._team, self._threads = team(threads), threads
        width = self._weight.shape[0] * COLUMNS
        self._columns = np.zeros((threads, PIXELS, TAPS, self._channels), np.float32)
        self._products = np.zeros((threads, PIXELS, width), np.float32)
        self._maps: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._ms = 0.0
        one = [np.zeros((1, n, 1, 1), np.float32) for n in (self._channels, self._channels, 2 * TAPS, TAPS)]
        self.run(one, [np.zeros((1, len(weight), 1, 1), np.float32)])  # compiles
        self._maps.clear()
        self._ms = 0.0

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`."""
        start = perf_counter()
        self._check(inputs, outputs)
        current, reference, offset, mask = inputs
        height, width = current.shape[2:]
        if (height, width) not in self._maps:
            # channels last, and a border of zeros, so that no tap needs a test
            self._maps[height, width] = np.zeros((2, height + 2, width + 2, self._channels), np.float32)
        maps = self._maps[height, width]
        for row in range(len(current)):
            sources = (current[row], reference[row])
            arrays = (maps, offset[row], mask[row], self._weight)

            def turn_channels(turn: int, thread: int, sources: Any = sources) -> None:
                channels_last(sources[turn % 2], maps[turn % 2], turn // 2 * BAND)

            def compute(turn: int, thread: int, arrays: Any = arrays, made: Any = outputs[0][row]) -> None:
                band(*arrays, self._columns[thread], self._products[thread], made, turn * BAND)

            bands = -(-height // BAND)
            self._team.each(2 * bands, turn_channels)
            self._team.each(bands, compute)
        self._ms += (perf_counter() - start) * 1e3

    def _check(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Refuse arrays of other shapes than the loops below run over, which would read and write beyond their ends."""
        planes = [self._channels, self._channels, 2 * TAPS, TAPS, self._outputs]
        rows, _, *sides = inputs[0].shape
        wanted = [(rows, count, *sides) for count in planes]
        if [array.shape for array in (*inputs, *outputs)] != wanted:
            raise BackendError(
                f"the kernel adabd wants {wanted}, got {[array.shape for array in (*inputs, *outputs)]}: export the bundle again"
            )

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`."""
        return (OperatorTime("AdaBD kernel", self._ms),)


KERNEL = AdaBDEngine


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def channels_last(source: Any, made: Any, top: int) -> None:
    """A band of (c, h, w) to the inside of (h + 2, w + 2, c)."""
    channels, height, width = source.shape
    for y in range(top, min(top + BAND, height)):
        for c in range(channels):
            for x in range(width):
                made[y + 1, x + 1, c] = source[c, y, x]


@njit(nogil=True, cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def band(
    maps: Any, offset: Any, mask: Any, weight: Any, columns: Any, products: Any, made: Any, top: int
) -> None:
    """A band of the result, `PIXELS` at a time."""
    _, height, width = mask.shape
    for y in range(top, min(top + BAND, height)):
        for first in range(0, width, PIXELS):
            end = min(first + PIXELS, width)
            blend(maps, offset, mask, columns, y, first, end)
            multiply(columns.reshape(PIXELS, -1)[: -(-(end - first) // ROWS) * ROWS], weight, products)
            for o in range(made.shape[0]):
                for x in range(first, end):
                    made[o, y, x] = products[x - first, o]


@njit(nogil=True, cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def blend(maps: Any, offset: Any, mask: Any, columns: Any, y: int, first: int, end: int) -> None:
    """The taps of pixels `first` to `end` of row y, from both maps."""
    current, reference = maps[0], maps[1]
    height, width, channels = current.shape[0] - 2, current.shape[1] - 2, current.shape[2]
    for x in range(first, end):
        for tap in range(TAPS):
            i, j = tap // 3, tap % 3
            top, down = _split(np.float32(y + i - 1) + offset[2 * tap, y, x], height)
            left, right = _split(np.float32(x + j - 1) + offset[2 * tap + 1, y, x], width)
            share = mask[tap, y, x]
            rest = np.float32(1) - share
            plain = current[y + i, x + j]
            a, b = reference[top, left], reference[top, left + 1]
            c, d = reference[top + 1, left], reference[top + 1, left + 1]
            one = np.float32(1)
            wa, wb = rest * (one - down) * (one - right), rest * (one - down) * right
            wc, wd = rest * down * (one - right), rest * down * right
            column = columns[x - first, tap]
            for n in range(channels):
                column[n] = share * plain[n] + wa * a[n] + wb * b[n] + wc * c[n] + wd * d[n]


@njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _split(place: Any, size: int) -> Any:
    """A position as the padded pixel before it and the share of the next; outside, and no number, is zero."""
    if not place > np.float32(-1):
        place = np.float32(-1)
    if place > np.float32(size):
        place = np.float32(size)
    before = min(int(place + np.float32(1)), size)
    return before, place - np.float32(before - 1)
