"""`edgeflow profile`: how long every engine and a clip's frames take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from edgeflow.cli.bundle_and_video import open_for
from edgeflow.cli.clips import first_frames
from edgeflow.cli.console import err, out, print_json
from edgeflow.cli.diff import end
from edgeflow.cli.engine_options import Library, Threads
from edgeflow.cli.reports import check_reports
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.beside_static import Beside, save_beside
from edgeflow.ir.bundle.costs import save_costs
from edgeflow.ir.errors import BundleError, InputError
from edgeflow.ir.files import write_atomically
from edgeflow.ir.film import calls_of
from edgeflow.report.pictures import check_drawing
from edgeflow.runtime.machine import in_words
from edgeflow.runtime.measure.changes import changes, of_json, of_profile
from edgeflow.runtime.measure.energy import in_joules
from edgeflow.runtime.measure.profile import PAUSE_S, ClipProfile, ProfileReport
from edgeflow.runtime.measure.profile import profile as profile_bundle
from edgeflow.runtime.measure.realisation import WARMUP
from edgeflow.runtime.measure.timeline import timeline
from edgeflow.runtime.measure.waterfall import Waterfall
from edgeflow.runtime.session import fitting_size

STDOUT = Path("-")
LEAST_CALLS = 4
"""Calls that are run however few frames were asked for: a call may take many."""


WIDE = 110
"""Columns of a screen that has room for all of an engine's times."""


def profile(
    bundle: Annotated[Path, typer.Argument(help="The bundle to measure.")],
    clip: Annotated[Path | None, typer.Option(help="A video whose frames are run as well.")] = None,
    frames: Annotated[
        int, typer.Option(help="Frames of the clip to run; more where fewer do not make four calls.", min=4)
    ] = 32,
    library: Library = None,
    threads: Threads = None,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="The full static model, exported for the clip's frame size, to compare with. "
            "The bundle's own dearest route, of tiles and the whole frame the cheaper, if not given, or if that is faster.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the report to this file; - for stdout, in place of the tables."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page (HTML) with routes over frames, times, waterfall, engines and memory.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the report's pictures there, as PNG and SVG each."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one frame's timeline to this file; Perfetto opens it."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An earlier --json of this model: say what moved since, and exit with 3 if something got slower.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Measure every engine at every batch size and, with --clip, whole frames.

    What the engines took is kept in the bundle: sessions on this device then pick their batches by it.

    With --clip, the full static model is run in turn with the routed one, and every part of the
    routed frame that keeps saved FLOPs from becoming saved time is shown in milliseconds.

    Example: edgeflow profile cain.edgeflow --clip in.mp4 --json profile.json

    Example: edgeflow profile cain.edgeflow --clip in.mp4 --report report.html
    """
    needing = (("--static", static), ("--trace", trace), ("--report", report), ("--pictures", pictures))
    for option, given in needing:
        if given and not clip:
            raise InputError(f"{option} {given} needs frames to run: give --clip as well")
    printed = json == STDOUT
    check_reports(overwrite, None if printed else json, trace, report)
    if report or pictures:
        check_drawing()
    earlier = of_profile(compare) if compare else None
    opened = open_for(clip, bundle)
    full = open_bundle(static) if static else None
    plans = opened.manifest.plans
    wanted = max(frames, opened.manifest.task.frames_of(LEAST_CALLS))
    shown = first_frames(clip, wanted, partial(fitting_size, plans)) if clip else []
    with err.status("profile") as status:
        measured = profile_bundle(
            opened,
            shown,
            library=library,
            threads=threads,
            static=full,
            progress=lambda what: status.update(f"profile {what}"),
        )
    if json and not printed:
        write_atomically(json, (dumps(measured.to_json(), indent=1) + "\n").encode())
    beside = measured.beside(clip.name) if clip else None
    try:
        save_costs(bundle, measured.costs)
        if beside:
            save_beside(bundle, beside)
    except BundleError as error:
        err.print(f"edgeflow: {error}", soft_wrap=True)
    if trace and measured.frame:
        write_atomically(trace, dumps(timeline(measured.frame)).encode())
    if clip and (report or pictures):
        _draw(measured, opened, clip, shown, report, pictures)
    if printed:
        print_json(measured.to_json())
    else:
        _print(measured, beside)
    if earlier:
        end(changes(earlier, of_json("now", measured.to_json())), quiet=printed)


def _draw(
    measured: ProfileReport,
    bundle: Bundle,
    clip: Path,
    frames: Sequence[Any],
    report: Path | None,
    folder: Path | None,
) -> None:
    """Write the page, and its pictures by themselves."""
    from edgeflow.report.page import page
    from edgeflow.report.pictures import drawn, write

    if report:
        calls = list(calls_of(bundle.manifest.task, frames))[WARMUP:]
        write_atomically(report, page(measured, bundle, clip.name, calls).encode())
    if folder:
        write(drawn(measured), folder)


def _print(report: ProfileReport, beside: Beside | None) -> None:
    machine = report.machine
    cpu = f"{machine['cpu']} ({in_words(machine['instructions'])})"
    here = cpu if report.device.name == machine["cpu"] else report.device.name
    out.print(f"{report.library} {report.version}, {here}, {machine['threads']} threads", soft_wrap=True)
    out.print(_engines(report, wide=out.width >= WIDE))
    if report.clip:
        _print_clip(report.clip)
    if report.waterfall:
        _print_waterfall(report.waterfall)
    if beside:
        out.print(beside.in_words, soft_wrap=True)
    if beside and beside.loss:
        out.print(beside.loss, soft_wrap=True)
    if report.energy:
        out.print(in_joules(report.energy), soft_wrap=True)
    out.print(f"method: {report.method}", style="dim")


def _print_clip(clip: ClipProfile) -> None:
    t = clip.latency
    out.print(
        f"{clip.frames} frames of {clip.size[0]}x{clip.size[1]}: mean {t.mean_ms:.1f}, median {t.median_ms:.1f}, "
        f"p90 {t.p90_ms:.1f}, p99 {t.p99_ms:.1f} ms; {clip.fps:.2f} frames/s; "
        f"engines {clip.engines_ms:.1f} ms, all else x{clip.overhead:.3f}; "
        f"padding {clip.padding:.1%}, {clip.gathered_rows:.0f} rows gathered",
        soft_wrap=True,
    )
    if clip.after_pause_ms is not None:
        out.print(f"the first frame after {PAUSE_S:.0f} s without any: {clip.after_pause_ms:.1f} ms")
    out.print(
        f"{clip.flops / 1e9:.1f} GFLOP a frame, {clip.dearest_flops / 1e9:.1f} on the dearest route "
        f"({clip.dearest_flops / clip.flops:.2f}x)",
    )
    table = Table("stage", "ms a frame", "share")
    for stage, ms in clip.stages_ms.items():
        table.add_row(stage, f"{ms:.2f}", f"{ms / t.mean_ms:.1%}")
    out.print(table)
    routes = Table("route", "share of tiles")
    for route, share in sorted(clip.routes.items(), key=lambda item: -item[1]):
        routes.add_row(route or "(none)", f"{share:.1%}")
    out.print(routes)


def _engines(report: ProfileReport, wide: bool) -> Table:
    """Every engine at every batch size; on a narrow screen without what can be left to the JSON."""
    names = ("mean", "median", "p90", "p95", "p99", "min", "max") if wide else ("median", "p90", "p99")
    table = Table("engine", "batch", *names, "rows/s", "GFLOP/s", title="ms per run")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for engine in report.engines:
        times = (f"{getattr(engine.latency, f'{name}_ms'):.2f}" for name in names)
        rates = f"{engine.throughput:.0f}", f"{engine.gflops:.0f}"
        table.add_row(engine.name, str(engine.batch), *times, *rates)
    return table


def _saved(factor: float) -> str:
    """How much time is saved, or that none is."""
    return f"time saved {factor:.2f}x" if factor >= 1 else f"slower: {1 / factor:.2f}x its time"


def _print_waterfall(waterfall: Waterfall) -> None:
    routed, full = waterfall.routed_cost, waterfall.full_cost
    out.print(
        f"full static model: {waterfall.full}, {full.spent.total:.1f} ms; realisation {waterfall.realisation:.2f} "
        f"({_saved(full.spent.total / routed.spent.total)}, "
        f"FLOPs saved {(full.work.useful + full.work.halo) / routed.work.total:.2f}x)",
        soft_wrap=True,
    )
    table = Table(
        "routed frame",
        "ms",
        "share",
        "meaning",
        title="from the full model's rate to the routed frame's time",
        caption="losses: beyond what the same FLOPs take in the full model",
    )
    for step in waterfall.steps:
        table.add_row(step.name, f"{step.ms:.2f}", f"{step.ms / routed.spent.total:.1%}", step.meaning)
    table.add_section()
    table.add_row("all", f"{routed.spent.total:.2f}", "100.0%", "measured")
    out.print(table)
