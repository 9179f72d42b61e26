"""Labels a video: for every call, what a model says of the frames it read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgeflow.ir.errors import InputError
from edgeflow.ir.film import call_inputs, moments
from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.convert import Result, Session
from edgeflow.runtime.video.label_files import LabelFile, Line, opened
from edgeflow.runtime.video.label_film import write_label_film
from edgeflow.runtime.video.reading.reader import Reading, Shot, VideoReader
from edgeflow.runtime.video.reading.source import Source, is_kept
from edgeflow.runtime.video.scene import Cuts
from edgeflow.runtime.video.writing.destination import check_destination, is_film


@dataclass(frozen=True)
class LabelReport:
    """What was done and how long it took.

    Attributes:
        frames_read: Frames of the source.
        calls: Lines written.
        cuts: Scene cuts: no call read frames on both sides.
        frames_dropped: Of a live source, since newer ones came before the model was done.
        infer_seconds: Time spent in the session.
        total_seconds: Time from start to end.
        warnings: What the user should know, one line each.
    """

    frames_read: int
    calls: int
    cuts: int
    frames_dropped: int
    infer_seconds: float
    total_seconds: float
    warnings: tuple[str, ...]


def label_video(
    session: Session,
    task: Task,
    source: Source,
    destination: str | Path,
    *,
    overwrite: bool = False,
    reading: Reading | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> LabelReport:
    """Write the label of the highest score for every call on a video.

    Args:
        session: Runs the model.
        task: Of the model, with an output of labels.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for lines of JSON on stdout; not the source. Its suffix says what is written: a table
            (.csv), the film with its labels written over the frames (.mp4 and other containers), or lines of JSON.
        overwrite: Whether a file that is there may be replaced.
        reading: How the film is read; as it is if None.
        on_progress: Called after each call with how many frames were read and, if known, how many there are.

    Raises:
        InputError: The task has no labels, or a film of them is wanted of what can be read only once.
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    place = next((number for number, made in enumerate(task.outputs) if made.kind == "labels"), None)
    if place is None:
        raise InputError("this model makes no labels: call it by edgeflow.runtime.Session")
    check_destination(source, destination, overwrite)
    labelling = _Labelling(session, task, place, on_progress)
    if not is_film(destination):
        with opened(destination) as out:
            return labelling.run(source, reading, out)
    if not isinstance(source, str | Path) or not is_kept(source):
        raise InputError(
            "a film with labels is made by reading the video twice, and a pipe, an address or a camera is read once: save it to a file first, or "
            "write .jsonl or .csv"
        )
    lines = _Kept()
    report = labelling.run(source, reading, lines)
    warnings = write_label_film(source, destination, lines.lines, reading)
    return replace(report, warnings=(*report.warnings, *warnings))


class _Kept:
    """Labels that wait for the film."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, line: Line) -> None:
        self.lines.append(line)


@dataclass(frozen=True)
class _Labelling:
    """Calls a session on a video; `place` is that of the labels among its outputs."""

    session: Session
    task: Task
    place: int
    on_progress: Callable[[int, int | None], None] | None

    def run(
        self,
        source: Source,
        reading: Reading | None,
        out: LabelFile,
    ) -> LabelReport:
        started, spent = time.perf_counter(), 0.0
        read = calls = cuts = 0
        with VideoReader(source, reading=reading) as reader:
            is_cut = Cuts()
            for moment in moments(
                self.task, reader.shots(), lambda last, now: is_cut(last.pixels, now.pixels)
            ):
                read, cuts = moment.number + 1, cuts + moment.cut
                if moment.cut:
                    self.session.reset()
                if not moment.frames:
                    continue
                before = time.perf_counter()
                result = self.session.run(
                    *call_inputs(self.task, tuple(shot.pixels for shot in moment.frames))
                )
                spent += time.perf_counter() - before
                made = self.task.outputs[self.place]
                out.write(_line(result, self.place, made, moment.frames, float(reader.usual)))
                calls += 1
                if self.on_progress:
                    self.on_progress(read, reader.info.frames)
            warnings = (*reader.remarks, *reader.damage.lines(reader.info.name))
            if reader.truncated:
                ended = "sent nothing more" if reader.live else "its end is missing"
                warnings += (f"{reader.info.name}: {ended}; the {read} frames it holds were used",)
            return LabelReport(
                read, calls, cuts, reader.dropped, spent, time.perf_counter() - started, warnings
            )


def _line(result: Result, place: int, made: Made, shots: tuple[Shot, ...], usual: float) -> Line:
    scores = result.outputs[place].ravel()
    best = int(scores.argmax())
    first, last = (float(time) for time in (shots[0].time, shots[-1].time))
    name = made.names[best] if best < len(made.names) else None
    return Line(round(first, 6), round(last + usual, 6), best, name, float(scores[best]))
