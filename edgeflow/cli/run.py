"""`edgeflow run`: a video through a bundle."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeflow.cli.bundle_and_video import check_order
from edgeflow.cli.console import err, print_json, progress_bar
from edgeflow.cli.deadline import Timed, asked_budget
from edgeflow.cli.engine_options import Library, Threads
from edgeflow.cli.film_options import (
    Bitrate,
    Bits,
    CodecName,
    Crf,
    Deinterlace,
    FilmAsked,
    FilmFps,
    Fix,
    Overwrite,
    PolicyRules,
    QualityWeight,
    Spread,
    Strict,
    Times,
    parse_film,
    parse_time,
)
from edgeflow.cli.film_task import PICTURES, check_task, digest, mask_style
from edgeflow.cli.films import make_films
from edgeflow.cli.steering import Asked, or_as_tuned, steered
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.costs import load_costs
from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.task import Task
from edgeflow.runtime import Budget, Session
from edgeflow.runtime.session import fitting_size, kept_size, picture_size
from edgeflow.runtime.video.films import Job, holds_films
from edgeflow.runtime.video.writing.destination import check_destination
from edgeflow.runtime.video.writing.pictures import are_pictures, check_pictures

if TYPE_CHECKING:
    from edgeflow.runtime.video.convert import Session as VideoSession
    from edgeflow.runtime.video.convert import VideoReport
    from edgeflow.runtime.video.labels import LabelReport


def run(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    source: Annotated[
        str,
        typer.Argument(
            help="The video to read: a file, a folder of pictures or of films, an address (http, rtsp), a camera (/dev/video0); - for y4m on stdin."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            help="The video to write, the picture, or numbered ones (frames/%05d.png), or the labels (.jsonl, .csv, or .mp4 with them in the "
            "picture); - for y4m, or lines of JSON, on stdout.",
        ),
    ],
    times: Times = None,
    fps: FilmFps = None,
    spread: Spread = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw the routes, the labels, or the masks over the frames.")
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Frames that a label is for, if the model takes clips of any length."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Frames from one label's window to the next; windows follow one another if not given."
        ),
    ] = None,
    fix: Fix = None,
    policy: PolicyRules = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            help="With --policy budget: milliseconds that a call may take. Routes stay the model's own as long as that is held."
        ),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option(help="With --policy budget: percent of the calls that shall hold it; 95 if not given."),
    ] = None,
    quality: QualityWeight = None,
    library: Library = None,
    threads: Threads = None,
    in_flight: Annotated[
        int,
        typer.Option(
            min=1,
            help="Frames that run at a time where the model interpolates and does not look back: 2 may gain a few percent "
            "for twice the working memory.",
        ),
    ] = 1,
    start: Annotated[str, typer.Option(metavar="TIME", help="Begin there: seconds, or H:MM:SS.")] = "0",
    frames: Annotated[int | None, typer.Option(min=1, help="Frames to read at most.")] = None,
    codec: CodecName = None,
    crf: Crf = None,
    bitrate: Bitrate = None,
    bits: Bits = "auto",
    deinterlace: Deinterlace = False,
    strict: Strict = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an earlier run of the same command left.")
    ] = False,
    overwrite: Overwrite = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON (not with -o -).")] = False,
) -> None:
    """Interpolate a video to a higher frame rate, translate it, or label what it shows. The sound is kept.

    Example: edgeflow run cain.edgeflow in.mp4 -o out.mp4 --overlay

    A model that translates one frame at a time gets the video at the size it was exported for.

    Labels become lines of JSON or of a table, one for every window of frames: start and end in seconds, label, name and score.
    Written to a film they stand in its pictures.

    Example: edgeflow run recognise.edgeflow in.mp4 -o labels.csv --window 32 --stride 8

    A folder of films becomes films of the same names in the folder OUTPUT. Films that are done are left out, one that was begun is gone on
    with, and one that cannot be made stops no other: it is named at the end, and the exit code is 1.

    Example: edgeflow run model.edgeflow films -o faster --fps 60

    Masks become a film of their classes' colours, over the frames with --overlay, or pictures whose grey levels are the classes'
    numbers.

    Example: edgeflow run segment.edgeflow in.mp4 -o masks/%05d.png

    Example: edgeflow run shortcut.edgeflow in.mp4 -o out.mp4 --policy mode=drift:0.3:12

    Example: edgeflow run cain.edgeflow in.mp4 -o out.mp4 --policy budget --budget-ms 33 --percentile 95
    """
    check_order(bundle, source)
    if holds_films(source):
        options = {name: value for name, value in context.params.items() if name not in ("source", "output")}
        make_films(Path(source), Path(output), options, partial(_run_of_folder, context, options))
        return
    _check_places(source, output, overwrite, resume, json)
    film = parse_film(times, fps, spread, (codec, crf, bitrate, bits), deinterlace, strict)
    video = _Video(source, output, parse_time(start), frames, overlay, resume, overwrite)
    opened = open_bundle(bundle)
    check_task(opened, film.faster, overlay, output)
    task = _windows(opened.manifest.task, window, stride)
    asked = Asked(library, threads, tuple(fix or ()), tuple(policy or ()), quality)
    running = _running(opened, asked, asked_budget(policy or [], budget_ms, percentile), in_flight)
    if {made.kind for made in task.outputs} & PICTURES:
        _print(_film(opened, task, running, film, video), json, running.session)
    else:
        _print_labels(_labels(opened, task, running, film, video), json, running.session)


@dataclass(frozen=True)
class _Video:
    """From what to what, and how much of it.

    Attributes:
        source: see `run`.
        output: see `run`.
        start: seconds of the source that are left out.
        frames: to read at most.
        overlay: draw routes, labels or masks over the frames.
        resume: go on with what an earlier run left.
        overwrite: replace what is there.
    """

    source: str
    output: str
    start: float
    frames: int | None
    overlay: bool
    resume: bool
    overwrite: bool


@dataclass(frozen=True)
class _Running:
    """A session, and in words what decides its routes, to tell films by."""

    session: Session | Timed
    words: list[str]


def _check_places(source: str, output: str, overwrite: bool, resume: bool, json: bool) -> None:
    """Refuse what cannot be written, before anything is opened.

    Raises:
        InputError: stdout is wanted twice.
        VideoError: the output cannot be written, or may not be replaced.
    """
    if json and output == "-":
        raise InputError("--json and -o - both want stdout: write the video to a file")
    if are_pictures(output):
        check_pictures(source, output, overwrite)
    elif not resume:
        check_destination(source, output, overwrite)


def _running(bundle: Bundle, asked: Asked, budget: Budget | None, in_flight: int) -> _Running:
    """A session as it was asked for.

    Raises:
        InputError: two options decide routes.
    """
    if budget and (asked.fix or asked.quality is not None):
        raise InputError("--policy budget, --fix and --quality all decide routes: give one of them")
    asked = or_as_tuned(bundle, asked)
    decides = budget or steered(bundle, list(asked.fix), list(asked.policy), asked.quality)
    session = Session(
        bundle, policy=decides, library=asked.library, threads=asked.threads, in_flight=in_flight
    )
    if budget is None:
        return _Running(session, sorted(asked.words))
    if load_costs(bundle.path, session.device) is None:
        err.print(
            f"edgeflow: engines were not timed on this machine, so the first frames find out what routes cost: `edgeflow profile "
            f"{bundle.path}` once",
            soft_wrap=True,
        )
    held = f"{budget.milliseconds:g} ms at {budget.percentile:g}%"
    return _Running(Timed(session, budget), sorted([*asked.words, held]))


def _film(bundle: Bundle, task: Task, running: _Running, film: FilmAsked, video: _Video) -> VideoReport:
    """Make a film."""
    from edgeflow.runtime.video.convert import Options
    from edgeflow.runtime.video.film import convert_film

    session: VideoSession = running.session
    masks = ""
    if all(made.kind != "image" for made in task.outputs):
        from edgeflow.runtime.video.masks import MaskPainter

        masks = mask_style(video.overlay, video.output)
        session = painter = MaskPainter(session, task, masks)
        task = painter.task
    what = {"bundle": digest(bundle), "policy": running.words, "spread": film.spread, "masks": masks}
    options = Options(
        film.encoding, film.strict, film.deinterlace, video.start, video.frames, video.resume, what, _kept
    )
    with _told() as progress:
        return convert_film(
            session,
            task,
            video.source,
            video.output,
            times=film.times,
            fps=film.fps,
            spread=film.spread,
            overlay=video.overlay and not masks,
            picture=partial(picture_size, bundle),
            resize=_resizing(bundle, task),
            options=options,
            overwrite=video.overwrite,
            on_progress=progress,
        )


def _labels(bundle: Bundle, task: Task, running: _Running, film: FilmAsked, video: _Video) -> LabelReport:
    """Write labels.

    Raises:
        InputError: they were to be gone on with.
    """
    from edgeflow.runtime.video.labels import label_video
    from edgeflow.runtime.video.reading.reader import Reading

    if video.resume:
        raise InputError("--resume goes on with films that are made, not with labels: leave it out")
    resize = _resizing(bundle, task)
    reading = Reading(resize, film.strict, film.deinterlace, start=video.start, frames=video.frames)
    with _told() as progress:
        return label_video(
            running.session,
            task,
            video.source,
            video.output,
            reading=reading,
            overwrite=video.overwrite,
            on_progress=progress,
        )


def _run_of_folder(context: typer.Context, options: Mapping[str, Any], job: Job, resume: bool) -> None:
    """Make one of a folder's films."""
    own = {"source": str(job.source), "output": str(job.output), "resume": resume, "json": False}
    run(context, **{**options, **own, "bundle": Path(options["bundle"])})


def _kept(what: str) -> None:
    """Say what of a film was kept, and how to go on."""
    err.print(f"edgeflow: {what}; go on with: {_again()}", soft_wrap=True, markup=False)


def _again() -> str:
    """The command that goes on with this one."""
    given = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    return shlex.join(["edgeflow", *given, "--resume"])


@contextmanager
def _told() -> Iterator[Callable[[int, int | None], None]]:
    """A bar, and what moves it: calls done, and how many there are if that is known."""
    with progress_bar() as bar:
        row = bar.add_task("run", total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


def _windows(task: Task, window: int | None, stride: int | None) -> Task:
    """The task with the windows that were asked for."""
    if (window or stride) and not any(made.kind == "labels" for made in task.outputs):
        raise InputError("--window and --stride are for models that label what they see: leave them out")
    try:
        return task.windowed(window, stride)
    except FlowError as error:
        raise InputError(f"--window, --stride: {error}") from error


def _resizing(bundle: Bundle, task: Task) -> Callable[[int, int], tuple[int, int]]:
    """What a video is resized to; says so where that is not its own size. A film's own frames stay as they are where pictures between them are made."""
    if task.between:
        return partial(kept_size, bundle.manifest.plans)
    maker = "wrap" if bundle.manifest.model.get("wrapped") else "export"

    def resize(height: int, width: int) -> tuple[int, int]:
        size = fitting_size(bundle.manifest.plans, height, width)
        if size != (height, width):
            err.print(
                f"edgeflow: the video is {width}x{height}, the bundle for {size[1]}x{size[0]}: frames are "
                f"resized (a bundle for another size, if the model takes one: edgeflow {maker} --size)",
                soft_wrap=True,
            )
        return size

    return resize


def _print_labels(report: LabelReport, json: bool, session: Session | Timed) -> None:
    for warning in report.warnings:
        err.print(f"edgeflow: {warning}", soft_wrap=True)
    if json:
        print_json(asdict(report) | _deadline(session))
        return
    err.print(
        f"{report.frames_read} frames in{_dropped(report.frames_dropped)}, {report.calls} labels out, {report.cuts} cuts; "
        f"{report.total_seconds:.1f} s, "
        f"of which inference {report.infer_seconds:.1f} s",
        soft_wrap=True,
    )
    if isinstance(session, Timed):
        session.say()


def _dropped(count: int) -> str:
    """How many frames of a live source were left out, where some were."""
    return f" ({count} dropped, since newer ones came before the model was done)" if count else ""


def _resumed(report: VideoReport) -> str:
    """How many frames an earlier run had done, where one had."""
    return f" ({report.frames_resumed} done by the run before)" if report.frames_resumed else ""


def _deadline(session: Session | Timed) -> dict[str, Any]:
    """What the report says of a deadline, if there was one."""
    return {"deadline": session.report()} if isinstance(session, Timed) else {}


def _print(report: VideoReport, json: bool, session: Session | Timed) -> None:
    for warning in report.warnings:
        err.print(f"edgeflow: {warning}", soft_wrap=True)
    if json:
        print_json(asdict(report) | _deadline(session))
        return
    err.print(
        f"{report.frames_read} frames in{_dropped(report.frames_dropped)}{_resumed(report)}, {report.frames_written} out at {report.fps:g} frames/s, "
        f"{report.cuts} cuts; {report.total_seconds:.1f} s, of which inference {report.infer_seconds:.1f} s "
        f"({(report.frames_written - report.pictures_resumed) / report.total_seconds:.1f} frames written per second)",
        soft_wrap=True,
    )
    if isinstance(session, Timed):
        session.say()
    if not any(report.routes):
        return  # nothing is decided
    total = sum(report.routes.values()) or 1
    shares = sorted(report.routes.items(), key=lambda item: -item[1])
    err.print("routes: " + ", ".join(f"{route}: {n / total:.0%}" for route, n in shares), soft_wrap=True)
