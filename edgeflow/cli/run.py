"""`edgeflow run`: a video through a bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeflow.cli.console import err, print_json, progress_bar
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.route import Axis, Choice
from edgeflow.runtime import Fixed, Session


def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    source: Annotated[str, typer.Argument(help="The video to read; - for y4m on stdin.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The video to write; - for y4m on stdout.")],
    times: Annotated[int, typer.Option(help="Multiply the frame rate by 2 or 4.")] = 2,
    overlay: Annotated[bool, typer.Option("--overlay", help="Draw the routes over the frames.")] = False,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=VALUE", help="Take this route everywhere, for example exit=5. Repeatable."
        ),
    ] = None,
    library: Annotated[
        str | None, typer.Option(help="Engine library, if not the target's: onnxruntime or openvino.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads for the engines.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON (not with -o -).")] = False,
) -> None:
    """Interpolate a video to two or four times its frame rate. The sound is kept.

    Example: edgeflow run cain.edgeflow in.mp4 -o out.mp4 --overlay
    """
    from edgeflow.runtime.video.interpolate import interpolate_video

    if json and output == "-":
        raise InputError("--json and -o - both want stdout: write the video to a file")
    opened = open_bundle(bundle)
    plan = next(iter(opened.manifest.plans.values()))
    if [spec.image for spec in plan.inputs] != [True, True] or [s.image for s in plan.outputs] != [True]:
        names = ", ".join(spec.name for spec in plan.inputs)
        raise InputError(
            f"{bundle} takes ({names}), not two frames to interpolate: use edgeflow.runtime.Session"
        )
    axes = {v.name: v.axis for v in plan.variables}
    policy = Fixed(**dict(_parse_fix(text, axes) for text in fix)) if fix else None
    session = Session(opened, policy=policy, library=library, threads=threads)
    with progress_bar() as bar:
        task = bar.add_task("run", total=None)
        report = interpolate_video(
            session,
            source,
            output,
            times=times,
            overlay=overlay,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for warning in report.warnings:
        err.print(f"edgeflow: {warning}", soft_wrap=True)
    if json:
        print_json(asdict(report))
        return
    err.print(
        f"{report.frames_read} frames in, {report.frames_written} out at {report.fps:g} frames/s, "
        f"{report.cuts} cuts; {report.total_seconds:.1f} s, of which inference {report.infer_seconds:.1f} s "
        f"({report.frames_written / report.total_seconds:.1f} frames written per second)",
        soft_wrap=True,
    )
    total = sum(report.routes.values()) or 1
    shares = sorted(report.routes.items(), key=lambda item: -item[1])
    err.print("routes: " + ", ".join(f"{route}: {n / total:.0%}" for route, n in shares), soft_wrap=True)


def _parse_fix(text: str, axes: dict[str, Axis]) -> tuple[str, Choice]:
    name, separator, value = text.partition("=")
    if not separator or name not in axes:
        raise InputError(
            f"--fix {text}: give AXIS=VALUE with an axis of the bundle: {', '.join(axes) or 'none'}"
        )
    for choice in axes[name].values:
        if str(choice) == value:
            return name, choice
    raise InputError(f"--fix {text}: {name} is one of {', '.join(map(str, axes[name].values))}")
