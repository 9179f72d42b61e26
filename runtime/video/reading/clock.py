"""When a film's pictures are shown: their own timestamps, whatever the container's rounding, gaps and faults."""

from __future__ import annotations

from collections import Counter, deque
from fractions import Fraction
from statistics import median

_LEAST_GAP = Fraction(17, 10)
"""Usual intervals without a picture that are worth a word, in a film whose pictures come evenly."""
_MOST = 10_000


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
        self._lengths: Counter[int] = Counter()
        self._long: list[tuple[Fraction, Fraction]] = []
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
        self._note(self._last, time - self._last)
        self._last = time
        return time

    def gaps(self) -> list[tuple[Fraction, Fraction]]:
        """(time, length) of what has no picture in a film that comes evenly otherwise; nothing of one that does not."""
        if not self._lengths:
            return []
        common, _ = self._lengths.most_common(1)[0]
        even = sum(count for length, count in self._lengths.items() if abs(length - common) <= common / 4)
        if even < 0.8 * sum(self._lengths.values()):
            return []
        return [(time, length) for time, length in self._long if length >= _LEAST_GAP * common / 1000]

    def _note(self, before: Fraction, length: Fraction) -> None:
        self._intervals.append(length)
        self._lengths[round(length * 1000)] += 1
        if length * self._fps > _LEAST_GAP and len(self._long) < _MOST:
            self._long.append((before, length))

    def _snapped(self, time: Fraction) -> Fraction:
        assert self._phase is not None
        even = self._phase + round((time - self._phase) * self._fps) / self._fps
        return even if abs(even - time) <= self._slack else time
