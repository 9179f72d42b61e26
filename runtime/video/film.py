"""Makes a film of a film: pictures in place of its frames, or between them, as the model's task says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from math import log2
from pathlib import Path

from edgeflow.ir.errors import InputError
from edgeflow.ir.film import Moment, call_inputs, moments
from edgeflow.ir.task import Task
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Conversion, Options, Result, Session, VideoReport, convert
from edgeflow.runtime.video.overlay import enlarged
from edgeflow.runtime.video.rate import Fps, Rate, Shown, Times
from edgeflow.runtime.video.reading.clock import Clock
from edgeflow.runtime.video.reading.source import Source
from edgeflow.runtime.video.repeats import repeats
from edgeflow.runtime.video.scene import Cuts
from edgeflow.runtime.video.stages import Decoded, Stages


def convert_film(
    session: Session,
    task: Task,
    source: Source,
    destination: str | Path,
    *,
    times: int | None = None,
    fps: Fraction | None = None,
    spread: bool = False,
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
        times: The result's frame rate over the source's; what the task says if None. A model that takes a time makes any
            number; one that makes the middle of two frames 4 and 8, too: midpoints between midpoints.
        fps: The result's frame rate instead, of a model that takes a time; the source's may vary.
        spread: Leave out frames that repeat the one before, and spread motion over the time that they took.
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
    middle = _Film(session, task, _rate(task, times, fps), spread)
    return convert(
        middle,
        source,
        destination,
        rate=middle.rate,
        overlay=overlay,
        overwrite=overwrite,
        options=options or Options(),
        resize=resize,
        picture=picture,
        on_progress=on_progress,
    )


@dataclass(frozen=True)
class _Read:
    """A frame of the source that is not left out, and its number there."""

    decoded: Decoded
    number: int


@dataclass(frozen=True)
class _Begun:
    """A frame whose call runs.

    Attributes:
        here: the frame.
        number: of it in the film.
        scene: first frame of its scene.
        shown: the pictures up to the next frame, where they are known already.
        future: of the call's results; None where no call is made.
    """

    here: Decoded
    number: int
    scene: int
    shown: Sequence[Shown]
    future: Future[list[Result]] | None


class _Film(Conversion):
    """Runs every call of a film, as many at a time as the session may have in flight, and puts its pictures in order."""

    def __init__(self, session: Session, task: Task, rate: Rate, spread: bool) -> None:
        super().__init__(session)
        self._task, self._spread = task, spread
        self._places = _places(task)
        self._replaces = _replaces(task)
        self._halvings = int(log2(rate.factor)) if _halves(task) and isinstance(rate, Times) else 1
        self.rate = rate
        self._begun: deque[_Begun] = deque()
        self._clock: Clock  # of the frames read here; their own times are kept

    @property
    def reach(self) -> int:
        """Frames before one that its call reads, and one more, to see whether a scene begins there.

        Where repeated frames are left out, these may be any of the scene.
        """
        return self.done if self._spread else max(self._task.base - min(self._task.offsets, default=0), 0) + 1

    def run(self, stages: Stages, on_frame: Callable[[int], None]) -> None:
        self._clock = Clock(stages.fps, Fraction(0))
        if self._spread:
            self.rate = Fps(self.rate.of(stages.fps))
        with ThreadPoolExecutor(self._session.in_flight, "infer") as pool:
            frames = self._counted(stages.decoded, on_frame)
            cuts = Cuts()
            for moment in moments(
                self._task, frames, lambda last, now: cuts(last.decoded.frame, now.decoded.frame)
            ):
                read = moment.here
                if moment.cut:
                    self._finish(stages, then=read)
                    self.cuts += 1
                    self.scene = read.number
                    self._session.reset()
                self._begun.append(self._begin(moment, pool))
                self._finish(stages, leave=self._session.in_flight)
            self._finish(stages)

    def _counted(self, decoded: Iterable[Decoded], on_frame: Callable[[int], None]) -> Iterator[_Read]:
        last: Decoded | None = None
        for frame in decoded:
            if not (self._spread and last is not None and repeats(last.frame, frame.frame)):
                self._clock.at(
                    frame.time
                )  # what an earlier run did, too: the clock shall say what it said then
                last = frame
                if self.frames >= self.first:
                    yield _Read(frame, self.frames)
            self.frames += 1
            on_frame(self.frames)

    def _begin(self, moment: Moment[_Read], pool: ThreadPoolExecutor) -> _Begun:
        """Start the call that is made at a frame."""
        here, number = moment.here.decoded, moment.here.number
        if not moment.frames or (number < self.done and not self.looks_back):
            return _Begun(here, number, self.scene, (), None)
        frames = tuple(read.decoded for read in moment.frames)
        shown: Sequence[Shown] = ()
        if self._task.timed:
            following = frames[self._task.offsets.index(self._task.base + 1)]
            shown = self.rate.shown(here.time, following.time, self._clock.usual)
        future = pool.submit(self._results, tuple(each.frame for each in frames), shown)
        return _Begun(here, number, self.scene, shown, future)

    def _results(self, frames: tuple[Frame, ...], shown: Sequence[Shown]) -> list[Result]:
        """What a call makes: of a model that takes a time, one result for each."""
        if not self._task.timed:
            return self._halved(frames, self._halvings)
        places = [float(each.place) for each in shown if each.place]
        return [self._session.run(*call_inputs(self._task, frames, place)) for place in places]

    def _halved(self, frames: tuple[Frame, ...], halvings: int) -> list[Result]:
        """The middle of a window, and with more halvings the middles of its middle's halves.

        A half's window repeats the frame at its end, as at a scene's: what would stand a half step beyond was not made by this call.
        """
        result = self._session.run(*call_inputs(self._task, frames))
        if halvings == 1:
            return [result]
        count = len(frames)
        beside = count // 2 - 1
        first, second = frames[beside : beside + 2]
        line = (first,) * beside + (first, result.outputs[0], second) + (second,) * beside
        before, after = (self._halved(half, halvings - 1) for half in (line[:count], line[-count:]))
        return [*before, result, *after]

    def _finish(self, stages: Stages, leave: int = 0, then: _Read | None = None) -> None:
        """Emit frames and what was made of them in order, until so many are left.

        Args:
            stages: that they go to.
            leave: so many frames.
            then: the frame after the last one; as usual if None.
        """
        while len(self._begun) > leave:
            begun = self._begun.popleft()
            following = self._following(begun, then)
            shown = begun.shown or self.rate.shown(begun.here.time, following[0], self._clock.usual)
            results: list[Result] = []
            if begun.future is not None:
                with self._waiting():
                    results = begun.future.result()
            if begun.number < self.done:
                continue  # an earlier run wrote it; here it only led to the state that the next ones need
            self._emit_all(stages, begun, results, shown, (following[1], begun.scene))

    def _following(self, begun: _Begun, then: _Read | None) -> tuple[Fraction, int]:
        """Time and number of the frame after one: what is between them repeats it."""
        if self._begun:
            return self._begun[0].here.time, self._begun[0].number
        if then is not None:
            return then.decoded.time, then.number
        return begun.here.time + self._clock.usual, max(self.frames, begun.number + 1)

    def _emit_all(
        self,
        stages: Stages,
        begun: _Begun,
        results: list[Result],
        shown: Sequence[Shown],
        done: tuple[int, int],
    ) -> None:
        """Emit a frame, or what takes its place, and what stands between it and the next."""
        here = begun.here
        if not results:
            stages.finished.put(self._finished(here, [each.time for each in shown], (), done))
            return
        for result in results:
            self._note(result)
        own = [each.time for each in shown if self._replaces or each.place]
        if not self._replaces:
            # The source frame shows the routes of what follows it; without any the overlay would flicker.
            itself = [each.time for each in shown if not each.place]
            stages.finished.put(self._finished(here, itself, results[0].trace.regions, None))
        pictures = [(result, result.outputs[place]) for result in results for place in self._places]
        for number, ((result, picture), time) in enumerate(zip(pictures, own, strict=True)):
            audio = here.audio if self._replaces and number == 0 else []
            regions = enlarged(result.trace.regions, here.frame, picture)
            last = number == len(pictures) - 1
            made = Decoded(picture, time, audio)
            stages.finished.put(self._finished(made, (time,), regions, done if last else None))


def _pictures(task: Task) -> list[tuple[float, int]]:
    """Where a call's pictures stand, in frames from its first, and which outputs they are."""
    return sorted(
        (each.time - task.base, place) for place, each in enumerate(task.outputs) if each.kind == "image"
    )


def _places(task: Task) -> list[int]:
    return [place for _, place in _pictures(task)]


def _replaces(task: Task) -> bool:
    """Whether a picture takes its frame's place."""
    return any(time == 0 for time, _ in _pictures(task)[:1])


def _halves(task: Task) -> bool:
    """Whether a model makes the middle of a window of frames, at no other time."""
    reach = len(task.offsets) // 2
    around = reach > 0 and task.offsets == tuple(range(1 - reach, 1 + reach)) and task.base == 0
    return around and not task.clip and len(task.outputs) == 1 and not task.timed and not _replaces(task)


def _rate(task: Task, times: int | None, fps: Fraction | None) -> Rate:
    """The rate asked for, if the task can make it.

    Raises:
        InputError: it cannot, or makes no film.
    """
    own = len(_places(task)) + (not _replaces(task))
    _check_pictures(task, [time for time, _ in _pictures(task)], own)
    if times is not None and fps is not None:
        raise InputError(
            "a multiple of the rate and frames per second both say how fast the film is: give one"
        )
    if task.timed:
        if times is not None and times < 2:
            raise InputError(f"times is {times}; choose 2 or more")
        return Times(times or own) if fps is None else Fps(fps)
    allowed = [2, 4, 8] if _halves(task) else [own]
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
