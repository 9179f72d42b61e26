"""`edgeflow tune`: how a bundle runs best on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edgeflow.cli.bundle_and_video import open_for
from edgeflow.cli.clips import first_frames
from edgeflow.cli.console import err, out, print_json
from edgeflow.cli.drawing import check_can_draw, check_drawing, new_figure, store
from edgeflow.cli.reports import check_reports
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.tuned import Tuned, forget_tuned, save_tuned
from edgeflow.ir.errors import InputError
from edgeflow.ir.files import write_atomically
from edgeflow.ir.film import calls_of
from edgeflow.ir.installing import with_extras
from edgeflow.ir.libraries import libraries
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.routes import full_route
from edgeflow.ir.program import Route
from edgeflow.ir.route import Choice, assignments, count_assignments
from edgeflow.runtime import Fixed, Session
from edgeflow.runtime.machine import cpu_name
from edgeflow.runtime.measure.worth import DEAREST
from edgeflow.runtime.session import fitting_size, select_plan
from edgeflow.runtime.stream.policy import Own, Policy, Quality

if TYPE_CHECKING:
    from edgeflow.runtime.measure.tune import Point
    from edgeflow.runtime.measure.tune import Tuned as Found

QUALITIES = (0.0, 0.25, 0.4, 0.6, 0.75, 1.0)
"""Weights of quality that are tried, beside the model's own, 0.5."""
ROUTES = 12
"""Fixed routes that are tried, if there are no more."""
METRICS = ("psnr", "ssim", "top1")
CALLS, FEW = 10, 5
"""Calls that are made of a clip at least, two of which warm up, and how many are few to judge by."""
SHEET = 3
"""Frames on the sheet."""
_QUALITY = "quality "
ACROSS = 640
"""Pixels of a picture on the sheet, at most."""


def tune(
    bundle: Annotated[Path, typer.Argument(help="The bundle to tune.")],
    clip: Annotated[Path | None, typer.Option(help="A video of the kind that it will see.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A folder for tuned.json, pareto.png and sheet.png; it is made."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="psnr or ssim of pictures, top1 of labels; what the model makes decides if not given."
        ),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, help="What the fast setting may cost of the best quality there is: dB of PSNR, or a share."
        ),
    ] = 0.1,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            min=0, help="Milliseconds that 90% of the calls of the best setting may take; any if not given."
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=6, help="Frames of the clip to use; 24, or as many as ten calls read, if not given."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="fast or best: that setting becomes what `edgeflow run` and `watch` use with this bundle on this machine where nothing else is asked for."
        ),
    ] = None,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Let go of what --keep kept with this bundle on this machine; nothing is tuned."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Find how a bundle runs best on this machine: engine library, threads and routes, by quality and time on a clip.

    An interpolator has every second frame left out and is compared with it; what other models make is compared with what their
    dearest route makes. Prints two commands: the fastest setting near the best quality, and the best one that holds the budget.

    Example: edgeflow tune model.edgeflow --clip in.mp4 --max-drop 0.1 --budget-ms 33 -o tuned

    Example: edgeflow tune model.edgeflow --forget
    """
    if forget:
        if keep or clip or output:
            raise InputError("--forget lets go of what was kept, and tunes nothing: give it alone")
        _forget(bundle)
        return
    if clip is None or output is None:
        raise InputError("give a video to tune on by --clip, and a folder for what is found by -o")
    from edgeflow.runtime.measure.tune import tune as search

    if keep not in (None, "fast", "best"):
        raise InputError(f"--keep {keep}: choose fast or best")
    files = _Files(output)
    files.check(overwrite)
    opened = open_for(clip, bundle)
    kinds = {made.kind for made in opened.manifest.task.outputs}
    wanted = _metric(metric, kinds, bundle)
    plans = opened.manifest.plans
    task = opened.manifest.task
    pictures = first_frames(clip, frames or max(24, task.frames_of(CALLS)), partial(fitting_size, plans))
    size = pictures[0].shape[0], pictures[0].shape[1]
    plan = select_plan(plans, *size)
    policies, dearest = _policies(plan, size), full_route(plan, size)
    with err.status("tune") as status:
        found = search(
            opened,
            pictures,
            policies,
            _settings(opened),
            max_drop=max_drop,
            budget_ms=budget_ms,
            similarity=_similarity() if wanted == "ssim" else None,
            progress=lambda what: status.update(f"tune: {what}"),
        )
        chosen = {"fast": found.fast, "best": found.best}
        tuned = {name: _tuned(point, plan, dearest) for name, point in chosen.items()}
        told = {"metric": wanted, **found.to_json(), "commands": _commands(bundle, tuned)}
        _write(files, told, found)
        if "image" in kinds:
            status.update("tune: draw three frames")
            every = {**policies, DEAREST: Fixed(**dearest)}
            write_atomically(files.sheet, _sheet(opened, pictures, every, chosen))
    if found.calls < FEW:
        err.print(
            f"edgeflow: {found.calls} calls of each setting are few to judge by: give a longer clip, or more --frames",
            soft_wrap=True,
        )
    if keep:
        _keep(opened, tuned[keep])
    if json:
        print_json(told)
    else:
        _say(found, wanted, told["commands"], files)


@dataclass(frozen=True)
class _Files:
    """What is written into a folder."""

    folder: Path

    @property
    def found(self) -> Path:
        """All points, and those that were chosen."""
        return self.folder / "tuned.json"

    @property
    def front(self) -> Path:
        """The points as a picture."""
        return self.folder / "pareto.png"

    @property
    def sheet(self) -> Path:
        """Three frames by each of the chosen points."""
        return self.folder / "sheet.png"

    def check(self, overwrite: bool) -> None:
        """Refuse what cannot be written, before anything is measured."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file: give a folder")
        check_can_draw()
        if self.folder.is_dir():
            check_reports(overwrite, self.found, self.sheet)
            check_drawing(overwrite, self.front)


def _commands(bundle: Path, tuned: Mapping[str, Tuned]) -> dict[str, str]:
    """What to type for each of the chosen settings."""
    run = f"edgeflow run {shlex.quote(str(bundle))} in.mp4 -o out.mp4"
    return {name: f"{run} {own.options}" for name, own in tuned.items()}


def _write(files: _Files, told: Mapping[str, Any], found: Found) -> None:
    """Write what was found, and draw its points."""
    files.folder.mkdir(exist_ok=True)
    write_atomically(files.found, (dumps(told, indent=1) + "\n").encode())
    _draw(found, told["metric"], files.front)


def _keep(bundle: Bundle, tuned: Tuned) -> None:
    """Keep a setting for this machine, and say so."""
    kept = save_tuned(bundle.path, cpu_name(), tuned)
    err.print(
        f"kept for this machine: {tuned.options} (in {kept}; `edgeflow tune {bundle.path} --forget` lets go of it)",
        soft_wrap=True,
    )


def _say(found: Found, metric: str, commands: Mapping[str, str], files: _Files) -> None:
    """Print the points, the commands that use the chosen ones, and what was written."""
    _print(found, metric)
    if found.fast == found.best:
        out.print(f"fast and best are the same: {commands['best']}", soft_wrap=True)
    else:
        for name, command in commands.items():
            out.print(f"{name}: {command}", soft_wrap=True)
    written = (path.name for path in (files.found, files.front, files.sheet) if path.exists())
    out.print(f"in {files.folder}: {', '.join(written)}")


def _metric(asked: str | None, kinds: set[str], bundle: Path) -> str:
    """The metric, which has to fit what the model makes."""
    usual = "psnr" if "image" in kinds else "top1"
    if asked is None:
        return usual
    if asked not in METRICS:
        raise InputError(f"--metric {asked}: choose {', '.join(METRICS)}")
    if (asked == "top1") != (usual == "top1"):
        raise InputError(f"--metric {asked}: {bundle} makes {', '.join(sorted(kinds))}: choose {usual}")
    return asked


def _forget(bundle: Path) -> None:
    """Let go of what was kept, and say so."""
    opened = open_bundle(bundle)
    had = forget_tuned(opened.path, cpu_name())
    said = "let go of what was kept for this machine" if had else "nothing was kept for this machine"
    err.print(f"{bundle}: {said}: the bundle runs as it was exported", soft_wrap=True)


def _similarity() -> Any:
    """SSIM of two pictures (h, w, 3) uint8, as scikit-image computes it."""
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise InputError(f"--metric ssim needs scikit-image: {with_extras('train')}") from error
    return lambda own, true: float(structural_similarity(own, true, channel_axis=2))  # type: ignore[no-untyped-call]


def _settings(bundle: Bundle) -> list[tuple[str, int]]:
    """Library and threads: those of the target first, at all threads; then fewer, and other libraries of processors."""
    own = bundle.manifest.target["library"]
    most = len(os.sched_getaffinity(0))
    counts = sorted({most, max(most // 2, 1), 1}, reverse=True)
    others = [
        name
        for name, known in libraries().items()
        if known.on_processor and known.backend and name != own and libraries()[own].on_processor
    ]
    return [(name, count) for name in (own, *others) for count in counts]


def _policies(plan: Plan, size: tuple[int, int]) -> dict[str, Policy]:
    """The model's own decisions, weights of quality if it weighs it, and fixed routes if they are few."""
    found: dict[str, Policy] = {"own": Own()}
    decisions = [d for step in plan.steps if isinstance(step, Route) for d in step.decisions]
    if any(decision.rule.weighs for decision in decisions):
        found |= {f"{_QUALITY}{value:g}": Quality(value) for value in QUALITIES}
    if plan.variables and count_assignments(plan.variables) <= ROUTES:
        dearest = full_route(plan, size)
        routes = [dict(route) for route in assignments(plan.variables)]
        found |= {" ".join(_fixed(plan, route)): Fixed(**route) for route in routes if route != dearest}
    return found


def _fixed(plan: Plan, route: Mapping[str, Choice]) -> list[str]:
    """A route as `axis=value`: decisions over one axis together where they are alike."""
    taken: dict[str, dict[str, Choice]] = {}
    for variable in plan.variables:
        taken.setdefault(variable.axis_name, {})[variable.name] = route[variable.name]
    alike = (
        {axis: next(iter(own.values()))} if len(set(own.values())) == 1 else own
        for axis, own in taken.items()
    )
    return [f"{name}={value}" for each in alike for name, value in each.items()]


def _tuned(point: Point, plan: Plan, dearest: Mapping[str, Choice]) -> Tuned:
    """A setting as options."""
    setting, quality = point.setting, None
    fix: list[str] = []
    if setting.policy == DEAREST:
        fix = _fixed(plan, dearest)
    elif setting.policy.startswith(_QUALITY):
        quality = float(setting.policy.removeprefix(_QUALITY))
    elif setting.policy != "own":
        fix = setting.policy.split()
    return Tuned(setting.library, setting.threads, tuple(fix), quality)


def _print(found: Found, metric: str) -> None:
    table = Table("library", "threads", "decides", metric, "ms", "p90", title=f"against {found.reference}")
    for column in table.columns[3:]:
        column.justify = "right"
    for point in found.front:
        mark = "".join(
            f" ({name})" for name, own in (("fast", found.fast), ("best", found.best)) if own == point
        )
        s, t = point.setting, point.worth.latency
        table.add_row(
            s.library,
            str(s.threads),
            s.policy + mark,
            _number(point.quality),
            f"{t.median_ms:.1f}",
            f"{t.p90_ms:.1f}",
        )
    out.print(table)
    err.print(
        f"{len(found.points)} settings were measured, {found.calls} calls each; those that nothing beats are shown"
    )


def _number(quality: float) -> str:
    return f"{quality:.2f}" if quality > 1 else f"{quality:.4f}"


def _draw(found: Found, metric: str, path: Path) -> None:
    """Quality against time: a dot for each setting, and the line of those that nothing beats."""
    figure = new_figure(7.5, 4.5)
    axes = figure.subplots()
    for library in dict.fromkeys(point.setting.library for point in found.points):
        own = [point for point in found.points if point.setting.library == library]
        axes.plot([p.ms for p in own], [p.quality for p in own], "o", markersize=5, alpha=0.6, label=library)
    axes.plot([p.ms for p in found.front], [p.quality for p in found.front], "-", linewidth=1, color="grey")
    for name, point, offset in (("fast", found.fast, (6, -14)), ("best", found.best, (6, 6))):
        axes.plot(point.ms, point.quality, "o", markersize=11, fillstyle="none", color="black")
        axes.annotate(name, (point.ms, point.quality), offset, textcoords="offset points")
    axes.set_xlabel("ms a call, median")
    axes.set_ylabel(f"{metric} against {found.reference}")
    axes.set_xlim(left=0)
    axes.margins(x=0.1, y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, loc="outside right upper")
    store(figure, path)


def _sheet(
    bundle: Bundle, pictures: Sequence[Any], policies: Mapping[str, Policy], points: Mapping[str, Point]
) -> bytes:
    """Three frames of the clip as the chosen settings make them, as PNG: a row a frame, a column a setting."""
    from PIL import Image, ImageDraw

    calls = list(calls_of(bundle.manifest.task, pictures))
    chosen = [len(calls) * (i + 1) // (SHEET + 1) for i in range(SHEET)]
    place = next(i for i, made in enumerate(bundle.manifest.task.outputs) if made.kind == "image")
    columns = []
    for point in points.values():
        setting = point.setting
        with Session(
            bundle, policy=policies[setting.policy], library=setting.library, threads=setting.threads
        ) as session:
            made = [session.run(*call).outputs[place] for call in calls[: chosen[-1] + 1]]
        columns.append([Image.fromarray(made[number]) for number in chosen])
    factor = min(ACROSS / columns[0][0].width, 1.0)
    width, height = (round(side * factor) for side in columns[0][0].size)
    sheet = Image.new("RGB", (len(points) * width, SHEET * height + 20), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for left, ((name, point), column) in enumerate(zip(points.items(), columns, strict=True)):
        pen.text(
            (left * width + 4, 4),
            f"{name}: {point.ms:.1f} ms, {_number(point.quality)}",
            fill=(255, 255, 255),
        )
        for row, picture in enumerate(column):
            sheet.paste(picture.resize((width, height)), (left * width, 20 + row * height))
    drawn = BytesIO()
    sheet.save(drawn, "PNG")
    return drawn.getvalue()
