"""Writes what a model says of a video: a line of JSON for every call."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.ir.film import Moment, call_inputs, moments
from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Result, Session
from edgeflow.runtime.video.destination import check_destination
from edgeflow.runtime.video.reader import VideoReader
from edgeflow.runtime.video.scene import is_cut


@dataclass(frozen=True)
class LabelReport:
    """What was done and how long it took.

    Attributes:
        frames_read: Frames of the source.
        calls: Lines written.
        cuts: Scene cuts: no call read frames on both sides.
        infer_seconds: Time spent in the session.
        total_seconds: Time from start to end.
        warnings: What the user should know, one line each.
    """

    frames_read: int
    calls: int
    cuts: int
    infer_seconds: float
    total_seconds: float
    warnings: tuple[str, ...]


def label_video(
    session: Session,
    task: Task,
    source: str | Path | BinaryIO,
    destination: str | Path,
    *,
    overwrite: bool = False,
    resize: Callable[[int, int], tuple[int, int]] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> LabelReport:
    """Write the label of the highest score for every call on a video.

    A line has `start` and `end` of the frames that the call read, in seconds, the `label`'s index, its `name` (null
    if labels have none) and its `score`, as the model makes it.

    Args:
        session: Runs the model.
        task: Of the model, with an output of labels.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for stdout; not the source.
        overwrite: Whether a file that is there may be replaced.
        resize: The (height, width) at which frames of this height and width are read; as they are if None.
        on_progress: Called after each call with how many frames were read and, if known, how many there are.

    Raises:
        InputError: The task has no labels.
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    place = next((number for number, made in enumerate(task.outputs) if made.kind == "labels"), None)
    if place is None:
        raise InputError("this model makes no labels: call it by edgeflow.runtime.Session")
    check_destination(source, destination, overwrite)
    started, spent = time.perf_counter(), 0.0
    read = calls = cuts = 0
    with VideoReader(source, resize) as reader, _opened(destination) as out:
        for moment in moments(task, reader, is_cut):
            read, cuts = moment.number + 1, cuts + moment.cut
            if moment.cut:
                session.reset()
            if not moment.frames:
                continue
            before = time.perf_counter()
            result = session.run(*call_inputs(task, moment.frames))
            spent += time.perf_counter() - before
            line = _line(result, place, task.outputs[place], moment, float(reader.info.fps))
            out.write(json.dumps(line) + "\n")
            calls += 1
            if on_progress:
                on_progress(read, reader.info.frames)
        warnings = (f"{reader.info.name}: its end is missing; the {read} frames it holds were used",)
        return LabelReport(
            read, calls, cuts, spent, time.perf_counter() - started, warnings if reader.truncated else ()
        )


def _line(result: Result, place: int, made: Made, moment: Moment[Frame], fps: float) -> dict[str, Any]:
    scores = result.outputs[place].ravel()
    best = int(scores.argmax())
    first, last = moment.span
    return {
        "start": round(first / fps, 6),
        "end": round((last + 1) / fps, 6),
        "label": best,
        "name": made.names[best] if best < len(made.names) else None,
        "score": float(scores[best]),
    }


@contextmanager
def _opened(destination: str | Path) -> Iterator[TextIO]:
    """The destination to write to; a file that was begun and not finished is removed."""
    if str(destination) == "-":
        yield sys.stdout
        return
    path = Path(destination)
    try:
        with path.open("w") as file:
            yield file
    except OSError as error:
        raise VideoError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
