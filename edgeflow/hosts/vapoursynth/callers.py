"""The model's calls on a clip: as its frames are asked for, or in their order where the model looks back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import vapoursynth as vs

from edgeflow.hosts.vapoursynth.formats import pixels, put_pixels
from edgeflow.hosts.vapoursynth.scenes import NEXT, PREVIOUS
from edgeflow.ir.film import window
from edgeflow.runtime.session import Session
from edgeflow.runtime.video.calls import Calls
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.rate import Shown

_log = logging.getLogger(__name__)
_PICTURES = "_EdgeflowPictures"


def pictures_of(frame: vs.VideoFrame) -> list[vs.VideoFrame]:
    """The pictures that a frame's call made, in order; none where no call is made."""
    found = frame.props.get(_PICTURES, [])
    return list(found) if isinstance(found, list | tuple) else [found]


class Caller:
    """Makes the call of any frame, of a model that does not look back.

    Args:
        session: runs the model.
        calls: of the model.
        count: frames of the clip.
        shown: the pictures from one frame to the next, by its number.

    Attributes:
        reach: which frames it is given for one, counted from that.
    """

    def __init__(
        self, session: Session, calls: Calls, count: int, shown: Callable[[int], Sequence[Shown]]
    ) -> None:
        self._session, self._calls, self._count, self._shown = session, calls, count, shown
        offsets = [0, *(offset - calls.task.base for offset in calls.task.offsets)]
        self.reach = range(min(offsets), max(offsets) + 1)

    def __call__(self, number: int, frames: Sequence[vs.VideoFrame]) -> vs.VideoFrame:
        """A frame with its call's pictures in a property.

        Args:
            number: of the frame.
            frames: those around it, as `reach` says.
        """
        around = {number + by: frame for by, frame in zip(self.reach, frames, strict=True)}
        out = around[number].copy()
        if made := self.made(number, around):
            out.props[_PICTURES] = [self._framed(picture) for picture in made]
        return out

    def made(self, number: int, around: Mapping[int, vs.VideoFrame]) -> list[Frame]:
        """The pictures of a frame's call."""
        first, last = self._scene(number, around)
        places = window(self._calls.task, number, first, last)
        if not places:
            return []
        read = {place: pixels(around[place]) for place in set(places)}
        results = self._calls.results(
            self._session, tuple(read[place] for place in places), self._shown(number)
        )
        return [picture for _, picture in self._calls.pictures(results)]

    def _scene(self, number: int, around: Mapping[int, vs.VideoFrame]) -> tuple[int, int]:
        """First and last frame of a frame's scene, or the first beyond those that are given."""
        first = last = number
        while first > 0 and first in around and not around[first].props[PREVIOUS]:
            first -= 1
        while last + 1 < self._count and last in around and not around[last].props[NEXT]:
            last += 1
        return first, last

    def _framed(self, picture: Frame) -> vs.VideoFrame:
        frame = vs.core.create_video_frame(
            vs.core.get_video_format(vs.RGB24), picture.shape[1], picture.shape[0]
        )
        put_pixels(picture, frame)
        return frame


class CallerInOrder(Caller):
    """Makes the calls of a model that looks back, in the order of frames, however these are asked for.

    A frame that is asked for before those that go before it waits for nothing: they are made first, and kept until they are
    asked for. Where a frame is asked for far from the last one, the stream begins anew there.

    Args:
        session: runs the model.
        calls: of the model.
        count: frames of the clip.
        shown: the pictures from one frame to the next, by its number.
        early: frames that may be asked for before those that go before them.
    """

    def __init__(
        self,
        session: Session,
        calls: Calls,
        count: int,
        shown: Callable[[int], Sequence[Shown]],
        early: int,
    ) -> None:
        super().__init__(session, calls, count, shown)
        self._early, self._next = early, 0
        self._kept: dict[int, list[Frame]] = {}
        self.reach = range(self.reach.start - early, self.reach.stop)

    def made(self, number: int, around: Mapping[int, vs.VideoFrame]) -> list[Frame]:
        """The pictures of a frame's call, after those before it."""
        if number in self._kept:
            return self._kept[number]
        if not 0 <= number - self._next <= self._early:
            self._next = self._begin(number, around)
            self._session.reset()
            self._kept.clear()
        while self._next <= number:
            if around[self._next].props[PREVIOUS]:
                self._session.reset()
            self._kept[self._next] = super().made(self._next, around)
            self._next += 1
        for old in [kept for kept in self._kept if kept < self._next - 2 * self._early]:
            del self._kept[old]
        return self._kept[number]

    def _begin(self, number: int, around: Mapping[int, vs.VideoFrame]) -> int:
        """Where to begin for a frame that does not follow: with its scene, if that is near."""
        for place in range(number, max(number - self._early, 0) - 1, -1):
            if place == 0 or around[place].props[PREVIOUS]:
                return place
        _log.warning(
            "frame %d was asked for out of order, and this model looks back at earlier frames: it begins anew there, so that "
            "pictures differ from those of a run in order",
            number,
        )
        return number
