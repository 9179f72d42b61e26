"""A film that comes frame by frame and goes on picture by picture, as soon as each can be made."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from edgeflow.ir.film import Moment, Scene
from edgeflow.runtime.video.calls import Calls
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Session
from edgeflow.runtime.video.rate import Shown
from edgeflow.runtime.video.reading.clock import Clock
from edgeflow.runtime.video.scene import Cuts

_TICK = Fraction(1, 10**9)


@dataclass(frozen=True)
class Picture:
    """A picture of the result.

    Attributes:
        pixels: (h, w, 3) uint8.
        time: at which it is shown, seconds.
        lasts: seconds until the next one.
    """

    pixels: Frame
    time: Fraction
    lasts: Fraction


@dataclass(frozen=True)
class _Timed:
    """A frame and its time."""

    pixels: Frame
    time: Fraction


class FilmStream:
    """Makes of frames what `edgeflow run` makes of the same film.

    Args:
        session: runs the model.
        calls: of its task, at the rate that is wanted.
        fps: of the frames, as far as it is known.
    """

    def __init__(self, session: Session, calls: Calls, fps: Fraction) -> None:
        self._session, self._calls, self._fps = session, calls, fps
        self._clock, self._cuts = Clock(fps, _TICK), Cuts()
        self._scene: Scene[_Timed] = Scene(calls.task, 0)
        self._waiting: deque[Moment[_Timed]] = deque()
        self._times: dict[int, Fraction] = {}
        self._count = 0

    @property
    def delay(self) -> int:
        """Frames that it waits for before it makes the pictures of one."""
        reads = max(self._calls.task.offsets, default=0) - self._calls.task.base
        return max(reads, int(not self._calls.replaces))

    def push(self, pixels: Frame, time: Fraction) -> Iterator[Picture]:
        """Take a frame and give the pictures that can be made now.

        Args:
            pixels: (h, w, 3) uint8; not written to afterwards.
            time: at which it is shown, seconds.
        """
        time = self._clock.at(time)
        frame = _Timed(pixels, time)
        if self._scene.held and self._cuts(self._scene.held[-1].pixels, pixels):
            self._waiting.extend(self._scene.rest())
            self._scene = Scene(self._calls.task, self._count)
        self._times[self._count] = time
        self._count += 1
        self._waiting.extend(self._scene.add(frame))
        while self._waiting and (self._waiting[0].number + 1 in self._times or self._alone):
            yield from self._pictures(self._waiting.popleft())

    def finish(self) -> Iterator[Picture]:
        """Give what is left: the film has ended, or goes on elsewhere."""
        self._waiting.extend(self._scene.rest())
        while self._waiting:
            yield from self._pictures(self._waiting.popleft())
        self.reset()

    def reset(self) -> None:
        """Forget the film: another one begins, or this one elsewhere."""
        self._session.reset()
        self._clock, self._cuts = Clock(self._fps, _TICK), Cuts()
        self._scene = Scene(self._calls.task, 0)
        self._waiting.clear()
        self._times.clear()
        self._count = 0

    @property
    def _alone(self) -> bool:
        """Whether a picture takes its frame's place, at its time: nobody has to know when the next one comes."""
        return self._calls.replaces and len(self._calls.places) == 1

    def _pictures(self, moment: Moment[_Timed]) -> Iterator[Picture]:
        if moment.cut:
            self._session.reset()
        here = moment.here
        after = self._times.get(moment.number + 1, here.time + self._clock.usual)
        self._times.pop(moment.number - 1, None)
        shown = self._calls.rate.shown(here.time, after, self._clock.usual)
        frames = tuple(frame.pixels for frame in moment.frames)
        results = self._calls.results(self._session, frames, shown) if frames else []
        made = iter([picture for _, picture in self._calls.pictures(results)])
        for number, each in enumerate(shown):
            until = shown[number + 1].time if number + 1 < len(shown) else after
            yield Picture(self._pixels(each, here, made), each.time, until - each.time)

    def _pixels(self, each: Shown, here: _Timed, made: Iterator[Frame]) -> Frame:
        """A made picture where one stands there, else the frame itself."""
        return next(made, here.pixels) if self._calls.replaces or each.place else here.pixels
