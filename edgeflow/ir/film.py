"""The calls of a film: which of its frames each call of a task reads.

Where a window reaches beyond the film's ends or a scene's, the edge frame is repeated: no call sees two scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError
from edgeflow.ir.task import Task

T = TypeVar("T")
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Moment(Generic[T]):
    """One frame of a film, and the call that is made there.

    Attributes:
        here: the frame.
        number: of the frame in the film, from 0.
        frames: of the call, in the order of the task's offsets; empty if no call is made here.
        span: numbers of the first and the last frame that the call reads.
        cut: whether a new scene begins here.
    """

    here: T
    number: int
    frames: tuple[T, ...]
    span: tuple[int, int]
    cut: bool


def moments(
    task: Task, frames: Iterable[T], cut: Callable[[T, T], bool] = lambda last, now: False
) -> Iterator[Moment[T]]:
    """Every frame of a film with the call that is made there, as soon as the frames of that call are known.

    A call is made at every `stride`-th frame of a scene, and not where an output would stand between two scenes
    or after the film's end.

    Args:
        task: says what a call reads.
        frames: of the film.
        cut: whether a new scene begins between two neighbours.

    Raises:
        InputError: the model takes more than frames.
    """
    scene: Scene[T] = Scene(task, 0)
    for number, frame in enumerate(frames):
        if not task.offsets:
            raise InputError(
                "this model takes more than frames of a film: call it by edgeflow.runtime.Session"
            )
        if scene.held and cut(scene.held[-1], frame):
            yield from scene.rest()
            scene = Scene(task, number)
        yield from scene.add(frame)
    yield from scene.rest()


def calls_of(
    task: Task, frames: Iterable[Frame], cut: Callable[[Frame, Frame], bool] = lambda last, now: False
) -> Iterator[tuple[NDArray[Any], ...]]:
    """The inputs of every call on a film, see `moments`: images (h, w, 3) uint8, or one clip (t, h, w, 3).

    >>> from edgeflow.ir.task import Made
    >>> film = [np.full((1, 1, 3), shade, np.uint8) for shade in range(3)]
    >>> task = Task((-1, 0, 1, 2), (Made("image", time=0.5),))
    >>> [[int(frame[0, 0, 0]) for frame in call] for call in calls_of(task, film)]
    [[0, 0, 1, 2], [0, 1, 2, 2]]
    """
    for moment in moments(task, frames, cut):
        if moment.frames:
            yield call_inputs(task, moment.frames)


def call_inputs(task: Task, frames: tuple[Frame, ...], time: float | None = None) -> tuple[NDArray[Any], ...]:
    """What a call takes: its frames, one by one or as one clip, and the time if the task is timed.

    Args:
        task: says what a call reads.
        frames: of the call.
        time: at which its pictures are wanted; where they mostly stand if None.
    """
    taken: tuple[NDArray[Any], ...] = (np.stack(frames),) if task.clip else frames
    when = task.outputs[0].time if time is None else time
    return (*taken, np.array([when], np.float32)) if task.timed else taken


def window(task: Task, at: int, first: int, last: int) -> list[int]:
    """Which frames a call at one frame reads, in the order of the task's offsets.

    Args:
        task: says what a call reads.
        at: number of the frame.
        first: number of its scene's first frame, or of any that lies before all that the call reads.
        last: number of its scene's last frame, or of any that lies after all that the call reads.

    Returns:
        Their numbers; none where an output would stand between two scenes.

    >>> from edgeflow.ir.task import Made
    >>> task = Task((-1, 0, 1, 2), (Made("image", time=0.5),))
    >>> window(task, 4, 4, 9), window(task, 9, 4, 9)
    ([4, 4, 5, 6], [])
    """
    if task.between and at == last:
        return []
    places = [at + offset - task.base for offset in task.offsets]
    if task.shorter:
        return [place for place in places if first <= place <= last]
    return [min(max(place, first), last) for place in places]


def reach(task: Task) -> tuple[int, int]:
    """How many frames before and after its own a call reads, at least those between which its outputs stand.

    >>> from edgeflow.ir.task import Made
    >>> reach(Task((-1, 0, 1, 2), (Made("image", time=0.5),)))
    (1, 2)
    """
    behind = max(task.base - min(task.offsets, default=0), 0)
    return behind, max(max(task.offsets, default=0) - task.base, int(task.between))


class Scene(Generic[T]):
    """The frames of one scene that calls still read, given one by one.

    Args:
        task: says what a call reads.
        start: number in the film of the scene's first frame.

    Attributes:
        held: frames that are still read, the newest last.
    """

    def __init__(self, task: Task, start: int) -> None:
        self._task, self._start = task, start
        self._behind, self._ahead = reach(task)
        self._gone = self._at = 0
        self.held: list[T] = []

    def add(self, frame: T) -> Iterator[Moment[T]]:
        """One more frame, and the moments that are whole with it."""
        self.held.append(frame)
        while self._at + self._ahead < self._gone + len(self.held):
            yield self._next()

    def rest(self) -> Iterator[Moment[T]]:
        """What is left when the scene has ended."""
        while self._at < self._gone + len(self.held):
            yield self._next()

    def _next(self) -> Moment[T]:
        at, last = self._at, self._gone + len(self.held) - 1
        places = window(self._task, at, 0, last) if at % self._task.stride == 0 else []
        frames = tuple(self.held[place - self._gone] for place in places)
        span = (min(places, default=at) + self._start, max(places, default=at) + self._start)
        here = self.held[at - self._gone]
        self._at += 1
        if (useless := self._at - self._behind - self._gone) > 0:
            keep = min(useless, len(self.held) - 1)  # the newest is compared with the next scene's first
            del self.held[:keep]
            self._gone += keep
        return Moment(here, at + self._start, frames, span, at == 0 and self._start > 0)
