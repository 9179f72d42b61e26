"""When a film's pictures are shown: their own timestamps, whatever the container's rounding, gaps and faults."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from statistics import median

PAUSE = 3
"""A picture that stands for so many usual intervals is a pause: nothing is made in the middle of it."""

_LEAST_GAP = Fraction(17, 10)
"""Usual intervals without a picture that are worth a word, in a film whose pictures come evenly."""
_KNOWN = 12


class Clock:
    """Turns timestamps into seconds from the film's start that always grow.

    Containers round: Matroska to a millisecond. A time within that of the nearest multiple of the frame interval is that multiple.

    Args:
        fps: frames per second, as the container states it.
        tick: of the container's timestamps, in seconds.
    """

    def __init__(self, fps: Fraction, tick: Fraction) -> None:
        self._fps = fps
        self._slack = min(max(tick, Fraction(1, 1_000_000)), 1 / (4 * fps))
        self._last: Fraction | None = None
        self._phase: Fraction | None = None
        self._intervals: deque[Fraction] = deque(maxlen=31)
        self.backwards = 0

    @property
    def usual(self) -> Fraction:
        """Seconds from one picture to the next, mostly."""
        return median(self._intervals) if len(self._intervals) >= 3 else 1 / self._fps

    @property
    def last(self) -> Fraction | None:
        """Time of the newest picture."""
        return self._last

    def at(self, time: Fraction | None) -> Fraction:
        """The time of the next picture.

        Args:
            time: its timestamp in seconds; None where it has none.
        """
        if self._last is None:
            self._last = self._phase = time if time is not None else Fraction(0)
            return self._last
        if time is None:
            time = self._last + self.usual
        time = self._snapped(time)
        if time <= self._last:
            self.backwards += 1
            time = self._last + self.usual
        self._intervals.append(time - self._last)
        self._last = time
        return time

    def gap(self, before: Fraction, time: Fraction) -> bool:
        """Whether so long no picture came in a film of an even rate that it is worth a word."""
        if time - before < _LEAST_GAP * self.usual or len(self._intervals) < _KNOWN:
            return False
        return (
            sum(abs(own - self.usual) <= self.usual / 4 for own in self._intervals)
            >= len(self._intervals) * 0.8
        )

    def _snapped(self, time: Fraction) -> Fraction:
        assert self._phase is not None
        even = self._phase + round((time - self._phase) * self._fps) / self._fps
        return even if abs(even - time) <= self._slack else time


def between(here: Fraction, then: Fraction, usual: Fraction, times: int) -> list[Fraction]:
    """When `times` pictures are shown that follow each other from `here` to `then`.

    They are spread evenly; across a pause the first stands, and the others come just before its end.

    >>> [str(time) for time in between(Fraction(0), Fraction(1, 25), Fraction(1, 25), 2)]
    ['0', '1/50']
    >>> [str(time) for time in between(Fraction(0), Fraction(2), Fraction(1, 25), 2)]
    ['0', '99/50']
    """
    step = then - here
    if step > PAUSE * usual:
        return [here, *(then - usual + usual * k / times for k in range(1, times))]
    return [here + step * k / times for k in range(times)]
