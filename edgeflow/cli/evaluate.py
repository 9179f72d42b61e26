"""`edgeflow eval`: quality against time, of a model's own decisions, others, and its dearest route."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from edgeflow.cli.bundle_and_video import open_for
from edgeflow.cli.clips import first_frames
from edgeflow.cli.console import err, out, print_json, progress_bar
from edgeflow.cli.drawing import check_drawing, new_figure, store
from edgeflow.cli.engine_options import Library, Threads
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Plan
from edgeflow.ir.program import Route
from edgeflow.runtime.session import fitting_size
from edgeflow.runtime.stream.policy import Own, Policy, Quality

if TYPE_CHECKING:
    from edgeflow.runtime.measure.worth import Report, Worth

QUALITIES = (0.0, 0.25, 0.75, 1.0)
"""Tried where none are given, beside the model's own, which is 0.5."""


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="The bundle to evaluate.")],
    clip: Annotated[Path, typer.Option(help="A video.")],
    frames: Annotated[int, typer.Option(min=6, help="Frames of the clip to use.")] = 32,
    quality: Annotated[
        str | None,
        typer.Option(
            metavar="Q,Q,...",
            help="Weights of quality against time to try, from 0 to 1, of a model that weighs them; 0,0.25,0.75,1 if not given.",
        ),
    ] = None,
    library: Library = None,
    threads: Threads = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw quality against time to this .png, .svg or .pdf file."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Measure quality and time on a clip: of the model's own decisions, of other weights of quality, and of its dearest route.

    An interpolator has every second frame left out and is compared with it; what other models make is compared with what their
    dearest route makes. All run in turn, call by call.

    Example: edgeflow eval model.edgeflow --clip in.mp4 --picture worth.png
    """
    from edgeflow.runtime.measure.worth import worth

    check_drawing(overwrite, picture)
    opened = open_for(clip, bundle)
    plans = opened.manifest.plans
    policies = _policies(next(iter(plans.values())), quality, bundle)
    pictures = first_frames(clip, frames, partial(fitting_size, plans))
    with progress_bar() as bar:
        row = bar.add_task("eval", total=None)
        report = worth(
            opened,
            pictures,
            policies,
            library=library,
            threads=threads,
            progress=lambda done, total: bar.update(row, completed=done, total=total),
        )
    if picture:
        _draw(report, picture)
    if json:
        print_json(report.to_json())
        return
    _print(report)


def _policies(plan: Plan, asked: str | None, bundle: Path) -> dict[str, Policy]:
    """The model's own decisions, and other weights if it weighs quality against time."""
    decisions = [d for step in plan.steps if isinstance(step, Route) for d in step.decisions]
    weighs = any(decision.rule.weighs for decision in decisions)
    if asked is not None and not weighs:
        raise InputError(f"--quality: no decision of {bundle} weighs quality against time: leave it out")
    try:
        values = [float(text) for text in asked.split(",")] if asked else list(QUALITIES if weighs else ())
    except ValueError as error:
        raise InputError(f"--quality {asked}: give numbers from 0 to 1, such as 0.2,0.8") from error
    return {"own": Own(), **{f"quality {value:g}": Quality(value) for value in values}}


def _print(report: Report) -> None:
    labels = report.each[0].agreement is not None
    columns = ["agreement"] if labels else ["PSNR dB", "worst", "flicker"]
    table = Table("policy", *columns, "ms", "p90", "GFLOP", "speed-up")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    slowest = report.each[-1].latency.median_ms
    for each in report.each:
        table.add_row(each.name, *_quality(each), *_time(each), f"{slowest / each.latency.median_ms:.2f}x")
    out.print(table)
    for each in report.each:
        for name, shares in each.routes.items():
            if len(shares) > 1 and len(each.routes) <= 4:
                said = ", ".join(f"{value} {share:.0%}" for value, share in shares.items())
                out.print(f"{each.name}: {name} {said}", soft_wrap=True)
    width, height = report.size
    err.print(
        f"{report.calls} calls of {width}x{height} each, in turn, after {report.warmup} that warm up; {report.library}; compared with {report.reference}; "
        "flicker: how much the error changes from a picture to the next, in levels of 255",
        soft_wrap=True,
    )


def _quality(each: Worth) -> tuple[str, ...]:
    if each.agreement is not None:
        return (f"{each.agreement:.0%}",)
    return tuple(f"{value:.2f}" for value in (each.psnr, each.worst_psnr, each.flicker) if value is not None)


def _time(each: Worth) -> tuple[str, ...]:
    return f"{each.latency.median_ms:.1f}", f"{each.latency.p90_ms:.1f}", f"{each.gflops:.1f}"


def _draw(report: Report, path: Path) -> None:
    """Quality against time, a dot for each policy."""
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    labels = report.each[0].agreement is not None
    for each in report.each:
        axes.plot(each.latency.median_ms, each.quality, "o", markersize=8, label=each.name)
    axes.set_xlabel("ms a call, median")
    axes.set_ylabel(
        f"agreement with {report.reference}" if labels else f"PSNR in dB against {report.reference}"
    )
    figure.legend(frameon=False, loc="outside right upper")
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    store(figure, path)
