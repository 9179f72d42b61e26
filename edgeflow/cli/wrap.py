"""`edgeflow wrap`: a static network as a routed bundle, without training."""

from __future__ import annotations

from dataclasses import asdict
from io import BytesIO
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeflow.cli.clips import first_frames, parse_size
from edgeflow.cli.console import err, out, print_json
from edgeflow.cli.reference import build_by
from edgeflow.cli.reports import check_reports
from edgeflow.ir.bundle.replacing import check_replaceable
from edgeflow.ir.errors import BackendError, BundleError, FlowError, InputError
from edgeflow.ir.files import write_atomically
from edgeflow.runtime.backends import open_backend
from edgeflow.targets import Target, load

if TYPE_CHECKING:
    from torch import nn

    from edgeflow.wrap.judge import Report
    from edgeflow.wrap.wrapping import Wrapping


def wrap(
    model: Annotated[
        str, typer.Argument(help="What builds the network: path/to/file.py:build or package.module:build.")
    ],
    clip: Annotated[
        Path, typer.Option(help="A video of the kind that the network will see: routes are tuned on it.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The bundle to write (a folder). A report lies beside it, as .json and .png.",
        ),
    ],
    max_drop: Annotated[
        float,
        typer.Option(
            min=0,
            help="dB of PSNR that routing may cost on the clip, against the truth. Where that is not known, the static network is "
            "taken to be 35 dB from it: 0.1 is a PSNR of 51 dB of the routed pictures against the static ones.",
        ),
    ] = 0.1,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="A video of what the network should make of every frame of the clip, if that is known; as large as that."
        ),
    ] = None,
    target: Annotated[
        str, typer.Option(help="What to compile for, on this machine: a name from `edgeflow targets`.")
    ] = "cpu",
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="Size of the frames; the clip's own if not given."),
    ] = None,
    frames: Annotated[
        int,
        typer.Option(
            min=2,
            help="Frames of the clip to tune on. As many after them are measured with, where there are any.",
        ),
    ] = 24,
    last: Annotated[
        bool,
        typer.Option(
            "--last",
            help="Of a network that takes several frames: what it makes belongs to the last of them, not to their middle.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Make a static network a routed bundle: tiles of a frame that are what they were are copied, the rest is computed.

    The network takes one or more frames and makes a picture or a map: it denoises, enlarges, segments, interpolates. It is not
    trained. How much may be copied is tuned on the clip.

    Example: edgeflow wrap denoiser.py:build --clip sample.mp4 -o denoiser.edgeflow
    """
    if not output.absolute().parent.is_dir():
        raise BundleError(
            f"cannot write {output}: there is no folder {output.absolute().parent}; make it first"
        )
    check_replaceable(output, overwrite)
    report_file, picture_file = (output.with_name(f"{output.stem}.{end}") for end in ("json", "png"))
    check_reports(overwrite, report_file, picture_file)
    wanted = load(target)
    _check_runs_here(wanted)
    from edgeflow.export.compile import compile_model, let_go
    from edgeflow.wrap import wrap as make
    from edgeflow.wrap.judge import judge
    from edgeflow.wrap.picture import draw
    from edgeflow.wrap.wrapping import shown_of

    network = _network(model)
    shown, later = _read(clip, frames, size)
    true, true_later = _read(truth, frames, None) if truth else ([], [])
    with err.status("wrap") as status:

        def say(what: str) -> None:
            status.update(f"wrap: {what}")

        wrapping = make(network, shown, wanted, max_drop=max_drop, truth=true, last=last, progress=say)
        say("export")
        reference = {"reference": model, "wrapped": True}
        try:
            compile_model(
                wrapping.model, wanted, output, reference=reference, strategy="routes", overwrite=overwrite
            )
        except BaseException:
            let_go(output)  # tuned again, the model may be another, which could not go on with it
            raise
        say("measure")
        measured = shown_of(wrapping.form, later, true_later) if later else wrapping.shown
        report, worst = judge(wrapping, output, wanted, max_drop, measured)
    told = _told(wrapping, report)
    write_atomically(report_file, (dumps(told, indent=1) + "\n").encode())
    drawn = BytesIO()
    draw(worst).save(drawn, "PNG")
    write_atomically(picture_file, drawn.getvalue())
    print_json(told) if json else _print(wrapping, report, output)


def _check_runs_here(target: Target) -> None:
    """Refuse a target that cannot be timed here, before anything that takes time.

    Raises:
        InputError: its engine library is not here.
    """
    try:
        open_backend(target.library)
    except BackendError as error:
        raise InputError(
            f"routes are tuned by what they take, and {target.name} does not run here ({error}): wrap for a target that does, as "
            "`edgeflow sys` lists them"
        ) from error


def _read(path: Path, count: int, size: str | None) -> tuple[list[Any], list[Any]]:
    """The first frames of a clip, and as many after them; none where there are fewer than half of these."""
    wanted = parse_size(size) if size else None
    found = first_frames(path, 2 * count, (lambda height, width: wanted) if wanted else None)
    return found[:count], found[count:] if len(found) >= count * 3 // 2 else []


def _network(reference: str) -> nn.Module:
    """The network to wrap.

    Raises:
        FlowError: there is none of that name, or it is no static module.
    """
    from torch import nn

    from edgeflow.flow import RoutedModule

    built: Any = build_by(reference)
    if isinstance(built, RoutedModule):
        raise FlowError(f"{reference} returns a routed model already: `edgeflow export` compiles it")
    if not isinstance(built, nn.Module):
        raise FlowError(f"{reference} returns a {type(built).__name__}: it must return a torch.nn.Module")
    return built


def _told(wrapping: Wrapping, report: Report) -> dict[str, Any]:
    """All that was found, as plain data."""
    return {
        "network": asdict(wrapping.form)
        | {"reach": wrapping.reach.pixels, "whole_frame_operators": list(wrapping.reach.everywhere)},
        "tiling": asdict(wrapping.tuned.tiling),
        "routing": asdict(wrapping.tuned.routing),
        "expected": asdict(wrapping.tuned.outcome),
        "measured": report.to_json(),
    }


def _print(wrapping: Wrapping, report: Report, output: Path) -> None:
    """Say in words what was found and measured; all of it is in the report."""
    out.print(_network_line(wrapping), soft_wrap=True)
    out.print(_tiles_line(wrapping, report), soft_wrap=True)
    shares = ", ".join(f"{way} {share:.0%}" for way, share in report.shares.items())
    out.print(
        f"{report.speed_up:.2f}x as fast as the plain network on whole frames ({report.calls} calls"
        f"{' that were not tuned on' if report.unseen else ''}, in turn); {'tiles' if wrapping.tuned.tiling.size else 'frames'}: {shares}",
        soft_wrap=True,
    )
    out.print(
        f"{report.psnr:.1f} dB from its pictures: a drop of {report.drop:.3f} dB against {report.against} (at most {report.max_drop:g} was asked for)",
        soft_wrap=True,
    )
    for line in advice(report):
        out.print(line, soft_wrap=True)
    out.print(
        f"{output}; what was measured: {output.stem}.json, its worst picture: {output.stem}.png",
        soft_wrap=True,
    )


def _network_line(wrapping: Wrapping) -> str:
    """What the network is."""
    form, reach = wrapping.form, wrapping.reach
    frames = "a frame" if form.images == 1 else f"{form.images} frames"
    size = f"{form.scale}x its size" if form.scale else "another size"
    if reach.everywhere:
        sees = f"sees the whole frame ({', '.join(reach.everywhere)})"
    elif reach.pixels is None:
        sees = "sees farther than 256 pixels"
    else:
        sees = f"sees {reach.pixels} pixels around"
    return f"the network: {frames} in, {form.channels} channels at {size} out; it {sees}"


def _tiles_line(wrapping: Wrapping, report: Report) -> str:
    """How frames are cut, and how near that is to the static network."""
    tiling = wrapping.tuned.tiling
    if not tiling.size:
        return f"frames are reused or computed whole; computed, they differ by {report.exact:.2g} levels of 255 from the static network"
    return (
        f"tiles of {tiling.size} pixels with a halo of {tiling.halo}; all of them computed differ by at most {report.exact:.2g} levels of "
        "255 from the static network"
    )


def advice(report: Report) -> list[str]:
    """What is to be said of a bundle that misses what it is for, and what would help."""
    lines = []
    if report.speed_up < 1:
        copied = 1 - report.shares.get("full", 0.0) - report.shares.get("whole", 0.0)
        why = (
            "most of the clip changes from frame to frame, so there is little to copy: a larger --max-drop copies more"
            if copied < 0.5
            else "looking at the tiles takes about as long as the network: larger frames or another --target may help"
        )
        lines.append(
            f"this bundle is slower than the plain network on this clip: {why}; or export the static network"
        )
    if report.drop > report.max_drop:
        lines.append(
            f"the drop is {report.drop:.3f} dB, more than the {report.max_drop:g} asked for: `edgeflow run --quality 0.7` copies less, or wrap "
            "again with a smaller --max-drop"
        )
    return lines
