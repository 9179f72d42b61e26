"""Makes a film of a film: pictures in place of its frames, or between them, as the model's task says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from edgeflow.ir.film import Moment, moments, reach
from edgeflow.ir.task import Task
from edgeflow.runtime.video.calls import Calls, film_calls
from edgeflow.runtime.video.convert import Conversion, Options, Result, Session, VideoReport, convert
from edgeflow.runtime.video.overlay import enlarged
from edgeflow.runtime.video.rate import Fps, Rate, Shown
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
    middle = FilmConversion(session, film_calls(task, times, fps), spread)
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


class FilmConversion(Conversion):
    """Runs every call of a film, as many at a time as the session may have in flight, and puts its pictures in order."""

    def __init__(self, session: Session, calls: Calls, spread: bool) -> None:
        super().__init__(session)
        self._calls, self._task, self._spread = calls, calls.task, spread
        self.rate: Rate = calls.rate
        self._begun: deque[_Begun] = deque()
        self._clock: Clock  # of the frames read here; their own times are kept

    @property
    def reach(self) -> int:
        """Frames before one that its call reads, and one more, to see whether a scene begins there.

        Where repeated frames are left out, these may be any of the scene.
        """
        return self.done if self._spread else reach(self._task)[0] + 1

    def run(self, stages: Stages, on_frame: Callable[[int], None]) -> None:
        """Turn all that is decoded, or what a span takes of it, into what is finished."""
        self._clock = Clock(stages.fps, Fraction(0))
        if self._spread:
            self.rate = Fps(self.rate.of(stages.fps))
        for time in self.span.before if self.span else ():
            self._clock.at(time)
        with ThreadPoolExecutor(self._session.in_flight, "infer") as pool:
            frames = self._counted(stages.decoded, on_frame)
            for moment in moments(self._task, frames, self._cuts()):
                read = moment.here
                if self.span and self.span.end is not None and read.number >= self.span.end:
                    self._finish(stages, then=read)
                    return
                if moment.cut:
                    self._finish(stages, then=read)
                    self.cuts += 1
                    self.scene = read.number
                    self._session.reset()
                self._begun.append(self._begin(moment, pool))
                self._finish(stages, leave=self._session.in_flight)
            self._finish(stages)

    def _cuts(self) -> Callable[[_Read, _Read], bool]:
        """Says whether a scene begins at the second of two neighbouring frames."""
        if self.span:
            known = frozenset(self.span.cuts)
            return lambda last, now: now.number in known
        cuts = Cuts()
        return lambda last, now: cuts(last.decoded.frame, now.decoded.frame)

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
        pixels = tuple(each.frame for each in frames)
        future = pool.submit(self._calls.results, self._session, pixels, shown)
        return _Begun(here, number, self.scene, shown, future)

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
        own = [each.time for each in shown if self._calls.replaces or each.place]
        if not self._calls.replaces:
            # The source frame shows the routes of what follows it; without any the overlay would flicker.
            itself = [each.time for each in shown if not each.place]
            stages.finished.put(self._finished(here, itself, results[0].trace.regions, None))
        pictures = self._calls.pictures(results)
        for number, ((result, picture), time) in enumerate(zip(pictures, own, strict=True)):
            audio = here.audio if self._calls.replaces and number == 0 else []
            regions = enlarged(result.trace.regions, here.frame, picture)
            last = number == len(pictures) - 1
            made = Decoded(picture, time, audio)
            stages.finished.put(self._finished(made, (time,), regions, done if last else None))
