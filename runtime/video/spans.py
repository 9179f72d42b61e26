"""A film cut into spans, each of which can be made alone, by whoever, and as one run over the film makes it.

A span begins where a scene does, since nothing is carried over a cut. Where a model keeps nothing from call to call, it may begin inside a scene as
well: then it is read from as many frames before as its first call looks back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from edgeflow.ir.film import reach
from edgeflow.ir.task import Task
from edgeflow.runtime.video.reading.reader import Shot
from edgeflow.runtime.video.repeats import repeats
from edgeflow.runtime.video.scene import Cuts

_TIMES = 32
"""Times before a frame that its film's clock goes by (`reading/clock.py`)."""


@dataclass(frozen=True)
class Span:
    """Neighbouring frames of a film whose pictures are made in one go.

    Attributes:
        number: of the span in the film, from 0.
        start: the first frame that is read.
        first: the first frame whose pictures are made.
        end: the frame after the last one; None at the film's end.
        stop: the frame after the last one that is read; None at the film's end.
        scene: first frame of the scene that is open at `first`.
        cuts: frames after `start` at which scenes begin, as far as it is read.
        before: times of frames before `start` that the film's clock goes by, seconds.
    """

    number: int
    start: int
    first: int
    end: int | None
    stop: int | None
    scene: int
    cuts: tuple[int, ...]
    before: tuple[Fraction, ...]


@dataclass(frozen=True)
class Frames:
    """A film's frames, without their pixels.

    Attributes:
        count: of all.
        kept: numbers of those that are not left out as repeats.
        times: of the kept ones, seconds.
        cuts: numbers of those at which a scene begins; not of the first.
    """

    count: int
    kept: tuple[int, ...]
    times: tuple[Fraction, ...]
    cuts: tuple[int, ...]


def look_over(shots: Iterable[Shot], spread: bool) -> Frames:
    """Look at all frames of a film once, as a run over it does.

    Args:
        shots: its frames.
        spread: leave out those that repeat the one before.
    """
    kept, times, cuts = [], [], []
    begins, last, count = Cuts(), None, 0
    for number, shot in enumerate(shots):
        count = number + 1
        if spread and last is not None and repeats(last, shot.pixels):
            continue
        if last is not None and begins(last, shot.pixels):
            cuts.append(number)
        kept.append(number)
        times.append(shot.time)
        last = shot.pixels
    return Frames(count, tuple(kept), tuple(times), tuple(cuts))


def spans_of(frames: Frames, task: Task, size: int, anywhere: bool) -> tuple[Span, ...]:
    """The spans of a film.

    Args:
        frames: of the film.
        task: of the model.
        size: frames of a span, about; 0 makes one span of all.
        anywhere: a span may begin inside a scene as well, where this is longer than twice that.
    """
    behind, ahead = reach(task)
    places = {number: place for place, number in enumerate(frames.kept)}
    firsts = list(_firsts(frames, size, anywhere))
    made = []
    for number, first in enumerate(firsts):
        end = firsts[number + 1] if number + 1 < len(firsts) else None
        scene = max((cut for cut in frames.cuts if cut <= first), default=0)
        start = frames.kept[max(places[first] - behind, places.get(scene, 0))]
        last = None if end is None else places[end] + ahead
        stop = None if last is None or last >= len(frames.kept) else frames.kept[last] + 1
        cuts = tuple(cut for cut in frames.cuts if start < cut and (stop is None or cut < stop))
        before = _before(frames.times[: places[start]])
        made.append(Span(number, start, first, end, stop, scene, cuts, before))
    return tuple(made)


def _firsts(frames: Frames, size: int, anywhere: bool) -> Iterator[int]:
    """First frames of spans."""
    first, cuts = 0, frozenset(frames.cuts)
    yield first
    for number in frames.kept if size else ():
        ends = number - first >= size and number in cuts
        if ends or (anywhere and number - first >= 2 * size):
            yield number
            first = number


def _before(times: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Those of the times before a frame that the clock goes by: the first, and the newest."""
    newest = deque(times[1:], _TIMES)
    return (*times[:1], *newest)
