"""What a worker does for films that several make: it looks a film over, makes a span of it, joins its pieces."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.errors import VideoError
from edgeflow.ir.film import reach
from edgeflow.ir.task import Task
from edgeflow.runtime.session import Session, fitting_size, kept_size, picture_size
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.video.calls import Calls, film_calls
from edgeflow.runtime.video.convert import Session as VideoSession
from edgeflow.runtime.video.film import FilmConversion
from edgeflow.runtime.video.films import Job
from edgeflow.runtime.video.masks import MaskPainter
from edgeflow.runtime.video.reading.info import VideoInfo
from edgeflow.runtime.video.reading.reader import Reading, VideoReader
from edgeflow.runtime.video.reading.reel import Reel
from edgeflow.runtime.video.spans import Span, look_over, spans_of
from edgeflow.runtime.video.stages import Stages
from edgeflow.runtime.video.writing.assembly import Assembly, Filming
from edgeflow.runtime.video.writing.destination import check_destination, container_of
from edgeflow.runtime.video.writing.encoder import EVEN, Encoding
from edgeflow.runtime.video.writing.piece_file import storing_of
from edgeflow.runtime.video.writing.span_parts import Plan, SpanParts, Whole
from edgeflow.runtime.video.writing.span_writer import SpanWriter

SPAN = 240
"""Frames of a span, about: work for a minute or so, which is what a worker that dies costs."""


@dataclass(frozen=True)
class Recipe:
    """How films are made, the same for all.

    Attributes:
        bundle: path of the bundle that makes the pictures.
        policy: what to make of the model's decisions; its own if None.
        library: engine library; the target's if None.
        threads: CPU threads of a worker's engines.
        times: the result's frame rate over the source's; what the task says if None.
        fps: the result's frame rate instead.
        spread: leave out frames that repeat the one before.
        masks: how masks are shown where the model makes these, see `masks.STYLES`.
        encoding: what is asked of the encoder.
        strict: damage in a source is an error.
        deinterlace: make one picture of two fields.
        what: whatever tells the bundle and the policy from others.
        overwrite: films that are there may be replaced.
        span: frames of a span, about.
    """

    bundle: Path
    policy: Policy | None = None
    library: str | None = None
    threads: int | None = None
    times: int | None = None
    fps: Fraction | None = None
    spread: bool = False
    masks: str = ""
    encoding: Encoding = field(default_factory=Encoding)
    strict: bool = False
    deinterlace: bool = False
    what: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    span: int = SPAN

    def reading(self, bundle: Bundle, task: Task) -> Reading:
        """How a film is read."""
        resize = partial(kept_size if task.between else fitting_size, bundle.manifest.plans)
        deep = self.encoding.bits != 8
        return Reading(resize, self.strict, self.deinterlace, deep)


class Maker:
    """One worker: a session, and the film that it reads.

    Args:
        recipe: how films are made.

    Raises:
        BundleError: the bundle is damaged.
        BackendError: the engine library is missing.
        InputError: the policy does not suit the model, or the task makes no such film.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._bundle = open_bundle(recipe.bundle)
        opened = Session(self._bundle, policy=recipe.policy, library=recipe.library, threads=recipe.threads)
        task = self._bundle.manifest.task
        self._session: VideoSession = opened
        self._looks_back = opened.looks_back
        if recipe.masks:
            self._session = painter = MaskPainter(opened, task, recipe.masks)
            task = painter.task
        self._task = task
        self._calls: Calls = film_calls(task, recipe.times, recipe.fps)
        self._reading = recipe.reading(self._bundle, task)
        self._reel: Reel | None = None

    def look(self, job: Job) -> Plan:
        """Look a film over, and say what its result is made of and in which spans; what an earlier run said is there. It is decoded whole.

        Raises:
            VideoError: it cannot be read, or the result cannot be written.
            InputError: the encoder that was asked for cannot be had.
        """
        with VideoReader(job.source, reading=self._reading) as reader:
            assembly = Assembly(self._filming(job, reader.info), reader.info)
            made_of = json.loads(json.dumps(assembly.made_of()))
            if (begun := self._begun(job, made_of)) is not None:
                return begun
            frames = look_over(reader.shots(), self._recipe.spread)
        anywhere = not (self._looks_back or self._recipe.spread)
        # Containers without times get pictures repeated, which hangs on the picture before.
        size = 0 if container_of(job.output) in EVEN else self._recipe.span
        remarks = (*reader.remarks, *assembly.remarks, *reader.damage.lines(reader.info.name))
        if reader.truncated:
            remarks += (
                f"{reader.info.name}: its end is missing; the {frames.count} frames it holds were used",
            )
        spans = spans_of(frames, self._task, size, anywhere)
        plan = Plan(made_of, frames.count, len(frames.cuts), spans, reader.truncated, remarks)
        SpanParts(job.output).begin(plan)
        return plan

    def _begun(self, job: Job, made_of: Mapping[str, Any]) -> Plan | None:
        """What an earlier run planned for a film, if one did.

        Raises:
            VideoError: it planned another film, or the result may not be replaced.
        """
        parts = SpanParts(job.output)
        if not parts.owns_output():
            check_destination(job.source, job.output, self._recipe.overwrite)
        plan = parts.plan()
        if plan is not None:
            parts.check_same(plan.made_of, made_of, "with --overwrite")
        return plan

    def make(self, job: Job, span: Span) -> Whole:
        """Make the piece of a span, which then lies beside the result.

        Raises:
            VideoError: it cannot be read or written.
            BackendError: an engine cannot run.
        """
        began = time.perf_counter()
        reel = self._reel_of(job.source)
        rate = self._calls.rate
        storing = storing_of(
            job.output, self._size(reel.info), rate.of(reel.info.fps), self._recipe.encoding, reel.info
        )
        parts = SpanParts(job.output)
        place = parts.temporary(span.number)
        conversion = FilmConversion(self._session, self._calls, self._recipe.spread)
        conversion.take(span)
        self._session.reset()
        writer = SpanWriter(place, storing)
        stages = Stages(reel.passage(span.start, span.stop), writer, overlay=False)
        try:
            with stages.running():
                conversion.run(stages, lambda done: None)
                stages.finished.put(None)
            if span.end is not None and conversion.frames < span.end:
                raise VideoError(
                    f"{job.source}: ends at frame {conversion.frames}, and had more when it was looked over: it was changed; begin anew with --overwrite"
                )
            took = time.perf_counter() - began
            whole = Whole(writer.written, dict(conversion.routes), took, conversion.seconds)
            parts.add(span.number, place, whole)
        except BaseException:
            self._leave()
            raise
        finally:
            place.unlink(missing_ok=True)
        return whole

    def join(self, job: Job) -> tuple[str, ...]:
        """Join the pieces of all spans into the result, and remove them.

        Returns:
            What the user should know, one line each.

        Raises:
            VideoError: it cannot be written; the pieces stay.
        """
        parts = SpanParts(job.output)
        plan, pieces = parts.plan(), parts.whole()
        if plan is None or len(pieces) != len(plan.spans):
            raise VideoError(f"{parts.folder}: pieces are missing; give the same command again")
        with VideoReader(job.source, reading=self._reading) as reader:
            info = reader.info
        count = sum(piece.written for piece in pieces.values())
        paths = [parts.path(number) for number in sorted(pieces) if pieces[number].written]
        joined = parts.folder / f"joined{job.output.suffix}"
        said = Assembly(self._filming(job, info), info).join(paths, count, None, joined)
        if not parts.owns_output():
            check_destination(job.source, job.output, self._recipe.overwrite)
        parts.note_joined(joined)  # killed between here and the end, it is known as ours
        joined.replace(job.output)
        parts.remove()
        return said

    def _reel_of(self, source: Path) -> Reel:
        """The film, open where it was left if it is the last one."""
        if self._reel is None or self._reel.path != source:
            self._leave()
            held = sum(reach(self._task)) + 1
            self._reel = Reel(source, self._reading, held * (3 if self._recipe.spread else 1))
        return self._reel

    def _leave(self) -> None:
        """Let go of the film that is open."""
        if self._reel is not None:
            self._reel.close()
        self._reel = None

    def _size(self, info: VideoInfo) -> tuple[int, int]:
        """(width, height) of the pictures made of a film."""
        height, width = picture_size(self._bundle, info.height, info.width)
        return width, height

    def _filming(self, job: Job, info: VideoInfo) -> Filming:
        recipe = self._recipe
        return Filming(
            job.source,
            job.output,
            self._size(info),
            self._calls.rate,
            recipe.encoding,
            0.0,
            None,
            recipe.what,
            False,
            recipe.overwrite,
        )
