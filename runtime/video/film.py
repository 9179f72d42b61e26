"""Makes a film of a film: pictures in place of its frames, or between them, as the model's task says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from edgeflow.ir.errors import InputError
from edgeflow.ir.film import Moment, call_inputs, moments
from edgeflow.ir.task import Task
from edgeflow.runtime.video.clock import Clock, between
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Conversion, Options, Result, Session, VideoReport, convert
from edgeflow.runtime.video.overlay import enlarged
from edgeflow.runtime.video.scene import Cuts
from edgeflow.runtime.video.source import Source
from edgeflow.runtime.video.stages import Decoded, Stages


def convert_film(
    session: Session,
    task: Task,
    source: Source,
    destination: str | Path,
    *,
    times: int | None = None,
    overlay: bool = False,
    overwrite: bool = False,
    options: Options | None = None,
    resize: Callable[[int, int], tuple[int, int]] | None = None,
    picture: Callable[[int, int], tuple[int, int]] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Write what a session makes of a video; the sound is kept.

    The result lasts as long as the source. Across a scene cut nothing is carried or blended: windows that reach
    over it repeat the scene's edge frame, states are forgotten, and where a picture would stand between two scenes
    the frame before is repeated. So is the last frame.

    Args:
        session: Runs the model.
        task: Of the model: its pictures stand at frames, or between two at even distances.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for y4m on stdout; not the source.
        times: The result's frame rate over the source's; what the task says if None. 4 is for models that make the
            middle of two frames: midpoints between midpoints.
        overlay: Whether to draw the routes.
        overwrite: Whether a file that is there may be replaced.
        options: How to read and write it.
        resize: The (height, width) at which frames of this height and width are read; as they are if None.
        picture: The (height, width) of what is made of frames read at this height and width; as them if None.
        on_progress: Called after each source frame with how many are done and, if known, how many there are.

    Raises:
        InputError: The task makes no such film.
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    middle = _Film(session, task, times)
    return convert(
        middle,
        source,
        destination,
        times=middle.times,
        overlay=overlay,
        overwrite=overwrite,
        options=options or Options(),
        resize=resize,
        picture=picture,
        on_progress=on_progress,
    )


@dataclass(frozen=True)
class _Begun:
    """A frame whose call runs.

    Attributes:
        here: the frame.
        number: of it in the film.
        scene: first frame of its scene.
        future: of the call's results; None where no call is made.
    """

    here: Decoded
    number: int
    scene: int
    future: Future[list[Result]] | None


class _Film(Conversion):
    """Runs every call of a film, as many at a time as the session may have in flight, and puts its pictures in order."""

    def __init__(self, session: Session, task: Task, times: int | None) -> None:
        super().__init__(session)
        made = [
            (each.time - task.base, place) for place, each in enumerate(task.outputs) if each.kind == "image"
        ]
        self._task, self._places = task, [place for _, place in sorted(made)]
        places = sorted(time for time, _ in made)
        self._replaces = bool(places) and places[0] == 0
        own = len(places) + (not self._replaces)
        _check_pictures(task, places, own)
        self.times = _check_times(task, times or own, own)
        self._halvings = 2 if self.times > own else 1
        self._begun: deque[_Begun] = deque()
        self._clock = Clock(Fraction(25), Fraction(0))  # of the frames read here; their own times are kept

    @property
    def reach(self) -> int:
        """Frames before one that its call reads, and one more, to see whether a scene begins there."""
        return max(self._task.base - min(self._task.offsets, default=0), 0) + 1

    def run(self, stages: Stages, on_frame: Callable[[int], None]) -> None:
        with ThreadPoolExecutor(self._session.in_flight, "infer") as pool:
            frames = self._counted(stages.decoded, on_frame)
            cuts = Cuts()
            for moment in moments(self._task, frames, lambda last, now: cuts(last.frame, now.frame)):
                number = moment.number + self.first
                if moment.cut:
                    self._finish(stages, then=moment.here.time)
                    self.cuts += 1
                    self.scene = number
                    self._session.reset()
                self._begun.append(_Begun(moment.here, number, self.scene, self._begin(moment, number, pool)))
                self._finish(stages, leave=self._session.in_flight)
            self._finish(stages)

    def _counted(self, decoded: Iterable[Decoded], on_frame: Callable[[int], None]) -> Iterator[Decoded]:
        for frame in decoded:
            if self.frames >= self.first:
                self._clock.at(frame.time)
                yield frame
            self.frames += 1
            on_frame(self.frames)

    def _begin(
        self, moment: Moment[Decoded], number: int, pool: ThreadPoolExecutor
    ) -> Future[list[Result]] | None:
        if not moment.frames or (number < self.done and not self.looks_back):
            return None
        frames = tuple(item.frame for item in moment.frames)
        return pool.submit(self._results, frames, self._halvings)

    def _results(self, frames: tuple[Frame, ...], halvings: int) -> list[Result]:
        """What a call makes; of two frames the middle, and with two halvings the middles of the halves."""
        result = self._session.run(*call_inputs(self._task, frames))
        if halvings == 1:
            return [result]
        (first, second), (middle, *_) = frames, result.outputs
        before, after = (self._results(half, halvings - 1) for half in ((first, middle), (middle, second)))
        return [*before, result, *after]

    def _finish(self, stages: Stages, leave: int = 0, then: Fraction | None = None) -> None:
        """Emit frames and what was made of them in order, until so many are left.

        Args:
            stages: that they go to.
            leave: so many frames.
            then: time of the frame after the last one; as usual if None.
        """
        while len(self._begun) > leave:
            begun = self._begun.popleft()
            following = self._begun[0].here.time if self._begun else then
            if following is None:
                following = begun.here.time + self._clock.usual
            times = between(begun.here.time, following, self._clock.usual, self.times)
            results: list[Result] = []
            if begun.future is not None:
                with self._waiting():
                    results = begun.future.result()
            if begun.number < self.done:
                continue  # an earlier run wrote it; here it only led to the state that the next ones need
            self._emit_all(stages, begun, results, times)

    def _emit_all(self, stages: Stages, begun: _Begun, results: list[Result], times: list[Fraction]) -> None:
        """Emit a frame, or what takes its place, and what stands between it and the next."""
        here, done = begun.here, (begun.number + 1, begun.scene)
        if not results:
            stages.finished.put(self._finished(here, times, (), done))
            return
        for result in results:
            self._note(result)
        if not self._replaces:
            # The source frame shows the routes of what follows it; without any the overlay would flicker.
            stages.finished.put(self._finished(here, times[:1], results[0].trace.regions, None))
        pictures = [(result, result.outputs[place]) for result in results for place in self._places]
        own = times[len(times) - len(pictures) :]
        for number, ((result, picture), time) in enumerate(zip(pictures, own, strict=True)):
            audio = here.audio if self._replaces and number == 0 else []
            regions = enlarged(result.trace.regions, here.frame, picture)
            last = number == len(pictures) - 1
            made = Decoded(picture, time, audio)
            stages.finished.put(self._finished(made, (time,), regions, done if last else None))


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


def _check_times(task: Task, times: int, own: int) -> int:
    """The rate asked for, if the task can make it.

    Raises:
        InputError: it cannot.
    """
    halves = own == 2 and task.offsets == (0, 1) and not task.clip and len(task.outputs) == 1
    allowed = [2, 4] if halves else [own]
    if times in allowed:
        return times
    if own == 1:
        raise InputError(f"times is {times}: the model translates frames and leaves their rate as it is")
    raise InputError(f"times is {times}; choose {' or '.join(map(str, allowed))}")
