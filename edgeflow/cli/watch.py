"""`edgeflow watch`: what a bundle does on a video, while it does it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgeflow.cli.bundle_and_video import open_for
from edgeflow.cli.console import megabytes, out
from edgeflow.cli.deadline import asked_budget
from edgeflow.cli.engine_options import Library, Threads
from edgeflow.cli.steering import Asked, or_as_tuned, steered
from edgeflow.ir.errors import InputError
from edgeflow.ir.film import call_inputs, moments
from edgeflow.runtime import Session
from edgeflow.runtime.measure.recent import Now, Recent
from edgeflow.runtime.measure.tegrastats import machine_sensors
from edgeflow.runtime.session import fitting_size

if TYPE_CHECKING:
    from edgeflow.ir.task import Task
    from edgeflow.runtime.video.colour import Frame
    from edgeflow.runtime.video.reading.reader import VideoReader

BARS = " ▁▂▃▄▅▆▇█"
SHOWN_CALLS, SHOWN_DECISIONS = 60, 12
"""Calls and decisions that a screen has room for."""
PERIOD_S = 0.25
"""Between two pictures of the screen; lines, where there is none, come every second."""


def watch(
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    source: Annotated[
        str,
        typer.Argument(help="A video, a folder of pictures, an address, a camera, or - for y4m on stdin."),
    ],
    fix: Annotated[
        list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Fix a decision, see `edgeflow run`.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=RULE", help="Decide by another rule, or `budget`, see `edgeflow run`."),
    ] = None,
    quality: Annotated[
        float | None, typer.Option(min=0, max=1, help="What quality counts against time, see `edgeflow run`.")
    ] = None,
    budget_ms: Annotated[
        float | None, typer.Option(help="Milliseconds that a call may take, for --policy budget.")
    ] = None,
    percentile: Annotated[
        float | None, typer.Option(help="Of the calls that shall hold it, in percent; 95 if not given.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of the video to use, at most.")] = None,
    library: Library = None,
    threads: Threads = None,
) -> None:
    """Run a bundle on a video and show rate, times, routes, memory and power while it runs. Nothing is written.

    On a terminal the screen is drawn anew four times a second, else a line is printed every second. A live source that is faster
    than the model gives its newest frame.

    Example: edgeflow watch model.edgeflow in.mp4

    Example: edgeflow watch model.edgeflow rtsp://camera/stream --policy budget --budget-ms 33
    """
    from edgeflow.runtime.video.films import films_of, holds_films
    from edgeflow.runtime.video.reading.reader import VideoReader

    if holds_films(source):
        first = films_of(Path(source))[0]
        raise InputError(
            f"{source} is a folder of films, and one is watched at a time: give one, such as {first}"
        )
    opened = open_for(source, bundle)
    task = opened.manifest.task
    if not task.offsets:
        raise InputError(
            f"{bundle} takes more than frames of a film: call it by edgeflow.runtime.Session, or use `edgeflow profile`"
        )
    budget = asked_budget(policy or [], budget_ms, percentile)
    asked = or_as_tuned(opened, Asked(library, threads, tuple(fix or ()), tuple(policy or ()), quality))
    decides = budget or steered(opened, list(asked.fix), list(asked.policy), asked.quality)
    with (
        machine_sensors() as sensors,
        Session(opened, policy=decides, library=asked.library, threads=asked.threads) as session,
        VideoReader(source, partial(fitting_size, opened.manifest.plans)) as reader,
        Live(console=out, auto_refresh=False, transient=False) if out.is_terminal else _Lines() as screen,
    ):
        recent, drawn = Recent(budget_ms, sensors), perf_counter()
        for _ in _calls(session, task, islice(reader, frames), recent):
            if perf_counter() - drawn >= (PERIOD_S if out.is_terminal else 1.0):
                _show(screen, recent, reader)
                drawn = perf_counter()
        _show(screen, recent, reader)
    if not recent.calls:
        raise InputError(
            f"{source} has too few frames for a call, which reads {opened.manifest.task.frames_of(1)}: give a longer video"
        )


class _Lines:
    """Stands in for the screen where there is none."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _calls(session: Session, task: Task, frames: Iterator[Frame], recent: Recent) -> Iterator[None]:
    """Make every call of a film, scene by scene."""
    from edgeflow.runtime.video.scene import Cuts

    for moment in moments(task, frames, Cuts()):
        if moment.cut:
            session.reset()
        if moment.frames:
            recent.note(session.run(*call_inputs(task, moment.frames)).trace)
            yield


def _show(screen: Live | _Lines, recent: Recent, reader: VideoReader) -> None:
    now = recent.now()
    if now is None:
        return
    if isinstance(screen, Live):
        screen.update(_screen(now, reader.dropped), refresh=True)
    else:
        out.print(_line(now, reader.dropped), soft_wrap=True)


def _line(now: Now, dropped: int) -> str:
    """The latest calls in a line."""
    routes = "; ".join(
        f"{name} {', '.join(f'{value} {share:.0%}' for value, share in shares.items())}"
        for name, shares in islice(now.routes.items(), SHOWN_DECISIONS)
    )
    return " | ".join(part for part in (*_numbers(now, dropped), routes) if part)


def _numbers(now: Now, dropped: int) -> Iterator[str]:
    yield f"call {now.calls}: {now.fps:.1f} a second, median {now.median_ms:.1f}, p95 {now.p95_ms:.1f}, max {now.max_ms:.1f} ms"
    if now.within is not None:
        yield f"{now.within:.0%} within the budget"
    if dropped:
        yield f"{dropped} frames dropped"
    yield f"engines {now.engines_ms:.1f} ms, {now.gflops:.1f} GFLOP a call, memory {megabytes(now.resident)}"
    if now.watts:
        heat = "" if now.celsius is None else f", {now.celsius:.0f} degrees C"
        yield ", ".join(f"{name} {watts:.1f} W" for name, watts in now.watts.items()) + heat


def _screen(now: Now, dropped: int) -> RenderableType:
    """The latest calls as a screen."""
    routes = Table(box=None, pad_edge=False, show_header=False)
    for name, shares in islice(now.routes.items(), SHOWN_DECISIONS):
        for place, (value, share) in enumerate(shares.items()):
            routes.add_row("" if place else name, value, "█" * round(30 * share), f"{share:.0%}")
    more = len(now.routes) - SHOWN_DECISIONS
    left = [Text(f"and {more} decisions more")] if more > 0 else []
    bars = Text(
        f"{_bars(now.ms[-SHOWN_CALLS:])} ms of the latest calls, up to {max(now.ms[-SHOWN_CALLS:]):.1f}"
    )
    return Group(*map(Text, _numbers(now, dropped)), bars, routes, *left)


def _bars(ms: tuple[float, ...]) -> str:
    """A bar for every call, as high as it took long."""
    most = max(ms)
    return "".join(BARS[round(each / most * (len(BARS) - 1))] for each in ms)
