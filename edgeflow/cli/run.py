"""`edgeflow run`: a video through a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeflow.cli.console import err, print_json, progress_bar
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Plan
from edgeflow.ir.route import Axis, Choice
from edgeflow.ir.rules import DriftAbove, HostRule, KeyFrameInterval
from edgeflow.runtime import Fixed, Rules, Session
from edgeflow.runtime.session import declared_size, fitting_size
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.video.destination import check_destination

if TYPE_CHECKING:
    from edgeflow.runtime.video.convert import VideoReport


def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle to run.")],
    source: Annotated[str, typer.Argument(help="The video to read; - for y4m on stdin.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The video to write; - for y4m on stdout.")],
    times: Annotated[
        int | None,
        typer.Option(help="Multiply the frame rate by 2 (the default) or 4, if the model interpolates."),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Draw the routes over the frames.")] = False,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=VALUE", help="Take this route everywhere, for example exit=5. Repeatable."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=RULE",
            help="Decide an axis by another rule: interval:N, its first value every N frames, or drift:T:N, when "
            "the model's measure exceeds T and at least every N frames. For example mode=drift:0.3:12. Repeatable.",
        ),
    ] = None,
    library: Annotated[
        str | None, typer.Option(help="Engine library, if not the target's: onnxruntime or openvino.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads for the engines.")] = None,
    in_flight: Annotated[
        int,
        typer.Option(
            min=1,
            help="Frames that run at a time where the model interpolates and does not look back: 2 may gain a few percent "
            "for twice the working memory.",
        ),
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON (not with -o -).")] = False,
) -> None:
    """Interpolate a video to two or four times its frame rate, or translate it. The sound is kept.

    Example: edgeflow run cain.edgeflow in.mp4 -o out.mp4 --overlay

    A model that translates one frame at a time gets the video at the size it was exported for.

    Example: edgeflow run shortcut.edgeflow in.mp4 -o out.mp4 --policy mode=drift:0.3:12
    """
    if json and output == "-":
        raise InputError("--json and -o - both want stdout: write the video to a file")
    check_destination(source, output, overwrite)
    opened = open_bundle(bundle)
    plans = opened.manifest.plans
    plan = next(iter(plans.values()))
    convert = _conversion(plan, bundle, times)
    steered = _policy(fix or [], policy or [], {v.name.split(".")[0]: v.axis for v in plan.variables})
    session = Session(opened, policy=steered, library=library, threads=threads, in_flight=in_flight)
    with progress_bar() as bar:
        task = bar.add_task("run", total=None)
        report = convert(
            session,
            source,
            output,
            overlay=overlay,
            overwrite=overwrite,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            **({"times": times or 2} if len(plan.inputs) == 2 else _translating(plans)),
        )
    _print(report, json)


def _conversion(plan: Plan, bundle: Path, times: int | None) -> Any:
    """The function that takes a video through a model of this kind."""
    from edgeflow.runtime.video.interpolate import interpolate_video
    from edgeflow.runtime.video.translate import translate_video

    reads, makes = ([spec.image for spec in specs] for specs in (plan.inputs, plan.outputs))
    known = {1: translate_video, 2: interpolate_video}
    if not all(reads) or makes != [True] or len(reads) not in known:
        names = ", ".join(spec.name for spec in plan.inputs)
        raise InputError(
            f"{bundle} takes ({names}), not one frame to translate or two to interpolate: "
            "use edgeflow.runtime.Session"
        )
    if times and len(reads) == 1:
        raise InputError(f"--times {times}: {bundle} translates frames and leaves their rate as it is")
    return known[len(reads)]


def _translating(plans: Mapping[str, Plan]) -> dict[str, Any]:
    """What a video is resized to, and how large the pictures made of it are."""
    sizes = {declared_size(plan.inputs): declared_size(plan.outputs) for plan in plans.values()}
    changed = [made for given, made in sizes.items() if given != made]
    if changed and len(sizes) > 1:
        raise InputError(
            "this bundle makes pictures of other sizes than its frames, and is for several: export it for one --size"
        )
    return {"resize": _resizing(plans), "picture": changed[0] if changed else None}


def _resizing(plans: Any) -> Any:
    """What a video is resized to; says so where that is not its own size."""

    def resize(height: int, width: int) -> tuple[int, int]:
        size = fitting_size(plans, height, width)
        if size != (height, width):
            err.print(
                f"edgeflow: the video is {width}x{height}, the bundle for {size[1]}x{size[0]}: frames are "
                "resized (a bundle for another size: edgeflow export --size)",
                soft_wrap=True,
            )
        return size

    return resize


def _print(report: VideoReport, json: bool) -> None:
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


def _policy(fixes: list[str], rules: list[str], axes: dict[str, Axis]) -> Policy | None:
    """What --fix and --policy ask for."""
    if fixes and rules:
        raise InputError("--fix and --policy both decide routes: give one of them")
    if fixes:
        return Fixed(**dict(_parse_fix(text, axes) for text in fixes))
    return Rules(**dict(_parse_rule(text, axes) for text in rules)) if rules else None


def _parse_rule(text: str, axes: dict[str, Axis]) -> tuple[str, HostRule]:
    """`mode=drift:0.3:12` as an axis and a rule."""
    axis, _, rule = text.partition("=")
    name, *numbers = rule.split(":")
    if axis not in axes:
        raise InputError(
            f"--policy {text}: give AXIS=RULE with an axis of the bundle: {', '.join(axes) or 'none'}"
        )
    try:
        if name == "interval":
            (interval,) = numbers
            return axis, KeyFrameInterval(int(interval))
        if name == "drift":
            threshold, longest = numbers
            return axis, DriftAbove(float(threshold), int(longest))
    except ValueError as error:
        raise InputError(f"--policy {text}: cannot be read ({error})") from error
    raise InputError(f"--policy {text}: the rules are interval:N and drift:T:N")


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
