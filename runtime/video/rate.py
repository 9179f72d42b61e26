"""When a film's pictures are shown: at a multiple of its own rate, or evenly at another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TypeAlias

from edgeflow.ir.errors import InputError

PAUSE = 3
"""A picture that stands for so many usual intervals is a pause: nothing is made in the middle of it."""

NEAR = Fraction(1, 50)
"""A share of an interval: a picture so soon after a frame is that frame."""

FASTEST = 1000
"""Frames per second."""


@dataclass(frozen=True)
class Shown:
    """One picture of a film.

    Attributes:
        time: at which it is shown, seconds.
        place: where it stands from its frame, 0, to the next one, 1; at 0 it is the frame.
    """

    time: Fraction
    place: Fraction


@dataclass(frozen=True)
class Times:
    """So many pictures for every frame."""

    factor: int

    def of(self, source: Fraction) -> Fraction:
        """Frames per second, of a source of so many."""
        return source * self.factor

    def shown(self, here: Fraction, then: Fraction, usual: Fraction) -> list[Shown]:
        """The pictures from one frame to the next.

        They are spread evenly; across a pause the first stands, and the others come just before its end.

        Args:
            here: time of the frame, seconds.
            then: time of the next one.
            usual: seconds from one frame to the next, mostly.

        >>> [str(each.time) for each in Times(2).shown(Fraction(0), Fraction(1, 25), Fraction(1, 25))]
        ['0', '1/50']
        >>> [str(each.time) for each in Times(2).shown(Fraction(0), Fraction(2), Fraction(1, 25))]
        ['0', '99/50']
        """
        begin = _begin(here, then, usual)
        places = [Fraction(k, self.factor) for k in range(self.factor)]
        return [Shown(begin + (then - begin) * place if place else here, place) for place in places]


@dataclass(frozen=True)
class Fps:
    """So many pictures a second, evenly, whatever the source has."""

    fps: Fraction

    def of(self, source: Fraction) -> Fraction:
        """Frames per second."""
        return self.fps

    def shown(self, here: Fraction, then: Fraction, usual: Fraction) -> list[Shown]:
        """The pictures from one frame to the next, see `Times.shown`; none if the next comes sooner.

        >>> [str(each.place) for each in Fps(Fraction(60)).shown(Fraction(1, 24), Fraction(2, 24), Fraction(1, 24))]
        ['1/5', '3/5']
        """
        return list(self._shown(here, then, _begin(here, then, usual)))

    def _shown(self, here: Fraction, then: Fraction, begin: Fraction) -> Iterator[Shown]:
        for number in range(ceil(here * self.fps), ceil(then * self.fps)):
            time = number / self.fps
            place = max((time - begin) / (then - begin), Fraction(0))
            yield Shown(time, place if place > NEAR else Fraction(0))


Rate: TypeAlias = Times | Fps


def parse_fps(text: str) -> Fraction:
    """Frames per second as people write them: 60, 59.94 (which is 60000/1001), 24000/1001.

    >>> str(parse_fps("23.976")), str(parse_fps("50"))
    ('24000/1001', '50')

    Raises:
        InputError: it is none, or not from 1 to 1000.
    """
    try:
        given = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"--fps {text}: give frames per second, such as 60, 59.94 or 60000/1001") from error
    if not 1 <= given <= FASTEST:
        raise InputError(f"--fps {text}: give frames per second from 1 to {FASTEST}")
    television = Fraction(round(given * 1001 / 1000) * 1000, 1001)
    return television if given.denominator != 1 and abs(given - television) < Fraction(1, 200) else given


def _begin(here: Fraction, then: Fraction, usual: Fraction) -> Fraction:
    """When motion towards the next frame begins."""
    return then - usual if then - here > PAUSE * usual else here
