"""How much a frame may be expected to take so that it holds a deadline, by what frames before it took.

What frames are expected to take is known up to a factor that the machine sets: its clocks, other programs, what a measurement
missed. That factor is never the same twice. A deadline that a share of all frames shall hold is held at the factor that so many
frames stay below, so no model of the noise is needed, and none of the load.
"""

from __future__ import annotations

from collections import deque
from math import exp, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError

WINDOW = 256
"""Frames that are remembered, some eight seconds of film: of fewer, none stands for one of a hundred."""
RECENT = 3
"""Frames whose median is the load that there is now: two slow frames are a load, one is chance."""
UNKNOWN = 1.5
"""The factor until a frame was measured."""
SPARE = 1.02
"""What is left for a factor that still grows, as while a processor gets hot."""


class Deadline:
    """The controller: observes frames, and says what the next may be expected to take.

    Its measure is the factor of a frame, what it took over what it was expected to. The next frame is given the larger of two: the
    factor that one more frame after the last `WINDOW` exceeds with the probability that is allowed (their order statistic, which holds
    for any distribution), and the median of the last `RECENT` with as much above it as frames usually differ from one to the next. So it
    becomes careful two frames into a load, stays careful for a window after it, and one slow frame alone changes nothing that
    the share does not ask for. Nothing that it says changes a factor, so it cannot oscillate.

    Args:
        milliseconds: that a frame may take.
        percentile: of the frames that shall, in percent.

    Attributes:
        factor: by how much the next frame has to be taken to exceed what it is expected to take.

    Raises:
        InputError: no time, or no percentile.
    """

    def __init__(self, milliseconds: float, percentile: float = 95.0) -> None:
        if not 0 < milliseconds < float("inf"):
            raise InputError(f"a frame's budget is more than 0 milliseconds, got {milliseconds:g}")
        if not 50 <= percentile < 100:
            raise InputError(
                f"a deadline is for 50 to less than 100 percent of the frames, got {percentile:g}"
            )
        self.milliseconds, self.percentile = milliseconds, percentile
        self._factors: deque[float] = deque(maxlen=WINDOW)
        self.factor = UNKNOWN

    def _next(self) -> float:
        """By how much the next frame has to be taken to exceed what it is expected to take."""
        factors = np.array(self._factors)
        over = int((1 - self.percentile / 100) * (len(factors) + 1))
        usual = np.sort(factors)[-max(over, 1)]
        return SPARE * float(max(usual, np.median(factors[-RECENT:]) * self._margin(factors)))

    def _margin(self, factors: NDArray[np.float64]) -> float:
        """How far a factor lies above the load that there is, at the percentile, if logarithms are spread normally.

        The spread is that of differences between successive frames, which a load that comes or goes does not change.
        """
        if len(factors) < 2:
            return 1.0
        differences = np.abs(np.diff(np.log(factors)))
        spread = float(np.median(differences)) / (NormalDist().inv_cdf(0.75) * sqrt(2))
        return exp(NormalDist().inv_cdf(self.percentile / 100) * spread)

    def left(self, elapsed: float = 0.0, begun: float = 0.0) -> float:
        """Milliseconds that the rest of a frame may be expected to take.

        Args:
            elapsed: milliseconds since it began.
            begun: its factor so far: a frame that began slowly is expected to go on slowly, and a load is noticed on its first frame.
        """
        return (self.milliseconds - elapsed) / max(self.factor, begun)

    def observe(self, expected: float, took: float) -> float:
        """A frame took so many milliseconds; returns its factor."""
        factor = took / max(expected, 1e-6)
        self._factors.append(factor)
        self.factor = self._next()
        return factor
