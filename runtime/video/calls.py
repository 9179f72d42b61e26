"""The pictures that a model's calls make for a film: which of its outputs they are, where they stand, and at which rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log2

from edgeflow.ir.errors import InputError
from edgeflow.ir.film import call_inputs
from edgeflow.ir.task import Task
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Result, Session
from edgeflow.runtime.video.rate import Fps, Rate, Shown, Times


@dataclass(frozen=True)
class Calls:
    """How a task's calls make a film, see `film_calls`.

    Attributes:
        task: of the model.
        rate: when the film's pictures are shown.
        places: outputs that are pictures, in the order of their times.
        replaces: whether a picture takes its frame's place; else all stand between two frames.
        halvings: how often the way between two frames is halved; 1 unless midpoints are made between midpoints.
    """

    task: Task
    rate: Rate
    places: tuple[int, ...]
    replaces: bool
    halvings: int

    def results(self, session: Session, frames: tuple[Frame, ...], shown: Sequence[Shown]) -> list[Result]:
        """What a call makes: of a model that takes a time, one result for each picture between the frames.

        Args:
            session: runs the model.
            frames: of the call, each (h, w, 3) uint8.
            shown: the pictures from the call's frame to the next; read if the model takes a time.
        """
        if not self.task.timed:
            return self._halved(session, frames, self.halvings)
        places = [float(each.place) for each in shown if each.place]
        return [session.run(*call_inputs(self.task, frames, place)) for place in places]

    def pictures(self, results: Sequence[Result]) -> list[tuple[Result, Frame]]:
        """The pictures of a call's results, in order, each with the result it is of."""
        return [(result, result.outputs[place]) for result in results for place in self.places]

    def _halved(self, session: Session, frames: tuple[Frame, ...], halvings: int) -> list[Result]:
        """The middle of a window, and with more halvings the middles of its middle's halves.

        A half's window repeats the frame at its end, as at a scene's: what would stand a half step beyond was not made by this call.
        """
        result = session.run(*call_inputs(self.task, frames))
        if halvings == 1:
            return [result]
        count = len(frames)
        beside = count // 2 - 1
        first, second = frames[beside : beside + 2]
        line = (first,) * beside + (first, result.outputs[0], second) + (second,) * beside
        halves = line[:count], line[-count:]
        before, after = (self._halved(session, half, halvings - 1) for half in halves)
        return [*before, result, *after]


def film_calls(task: Task, times: int | None = None, fps: Fraction | None = None) -> Calls:
    """The calls that make a film at the rate asked for.

    Args:
        task: of the model.
        times: the film's frame rate over the source's; what the task says if None.
        fps: the film's frame rate instead, of a model that takes a time.

    Raises:
        InputError: the task cannot make that rate, or makes no film.
    """
    pictures = sorted(
        (each.time - task.base, place) for place, each in enumerate(task.outputs) if each.kind == "image"
    )
    replaces = any(time == 0 for time, _ in pictures[:1])
    own = len(pictures) + (not replaces)
    _check_pictures(task, [time for time, _ in pictures], own)
    halves = _halves(task, replaces)
    rate = _rate(task, own, halves, times, fps)
    halvings = int(log2(rate.factor)) if halves and isinstance(rate, Times) else 1
    return Calls(task, rate, tuple(place for _, place in pictures), replaces, halvings)


def _halves(task: Task, replaces: bool) -> bool:
    """Whether a model makes the middle of a window of frames, at no other time."""
    reach = len(task.offsets) // 2
    around = reach > 0 and task.offsets == tuple(range(1 - reach, 1 + reach)) and task.base == 0
    return around and not task.clip and len(task.outputs) == 1 and not task.timed and not replaces


def _rate(task: Task, own: int, halves: bool, times: int | None, fps: Fraction | None) -> Rate:
    """The rate asked for, if the task can make it; `own` is its factor where nothing is asked for.

    Raises:
        InputError: it cannot.
    """
    if times is not None and fps is not None:
        raise InputError(
            "a multiple of the rate and frames per second both say how fast the film is: give one"
        )
    if task.timed:
        if times is not None and times < 2:
            raise InputError(f"times is {times}; choose 2 or more")
        return Times(times or own) if fps is None else Fps(fps)
    allowed = [2, 4, 8] if halves else [own]
    choices = " or ".join(map(str, allowed))
    if own == 1 and (fps is not None or times not in (None, 1)):
        asked = f"times is {times}" if fps is None else f"{float(fps):g} frames a second"
        raise InputError(f"{asked}: the model translates frames and leaves their rate as it is")
    if fps is not None:
        raise InputError(
            f"{float(fps):g} frames a second: this model takes no time, so its pictures stand at fixed places; choose times "
            f"{choices}, or a model that takes one"
        )
    if times is not None and times not in allowed:
        raise InputError(f"times is {times}; choose {choices}")
    return Times(times or own)


def _check_pictures(task: Task, places: Sequence[float], own: int) -> None:
    """Refuse a task whose pictures do not make a film.

    Raises:
        InputError: it makes no pictures, not evenly spaced ones, of several frames, or larger ones between frames.
    """
    if not places:
        raise InputError("this model makes no pictures: call it by edgeflow.runtime.Session")
    shift = 0 if places[0] == 0 else 1
    even = all(abs(place - (number + shift) / own) < 1e-6 for number, place in enumerate(places))
    if task.stride != 1 or not even:
        raise InputError(
            f"this model's pictures stand at {', '.join(f'{each.time:g}' for each in task.outputs)} frames, every "
            f"{task.stride} frames: only evenly spaced ones make a film; call it by edgeflow.runtime.Session"
        )
    if shift and any(each.scale != 1 for each in task.outputs):
        raise InputError(
            "this model makes pictures between frames and of another size than these: call it by edgeflow.runtime.Session"
        )
