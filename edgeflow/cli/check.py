"""`edgeflow check`: is the bundle whole, and do its engines compute what the model does?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from edgeflow.cli.console import err, out, print_json
from edgeflow.ir.bundle import open_bundle
from edgeflow.runtime.check import CheckReport
from edgeflow.runtime.check import check as check_bundle


def check(
    bundle: Annotated[Path, typer.Argument(help="The bundle to check.")],
    library: Annotated[
        str | None, typer.Option(help="Engine library, if not the target's: onnxruntime or openvino.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a bundle on this machine against the golden vectors inside it. Needs no torch.

    Every file is hashed, every engine is run, and whole frames are compared with what the
    model's own code made of them at export: picture, and every routing decision.
    Exits with 1 if anything differs too much.
    """
    opened = open_bundle(bundle)
    with err.status("check") as status:
        report = check_bundle(opened, library=library, progress=lambda what: status.update(f"check {what}"))
    if json:
        print_json(report.to_json())
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(1)


def _print(report: CheckReport) -> None:
    table = Table("engine", "largest error", "allowed", "", title=f"{report.library} {report.version}")
    for graph in report.graphs:
        mark = "ok" if graph.passed else "DIFFERS"
        table.add_row(graph.graph, f"{graph.max_error:.1e}", f"{graph.allowed:.1e}", mark)
    out.print(table)
    for clip in report.clips:
        out.print(
            f"{clip.frames} frames: {clip.calls} calls, PSNR {clip.psnr_db:.1f} dB before rounding, "
            f"{clip.flips} of {clip.decisions} decisions differ, rounding within {clip.rounding} level: "
            + ("ok" if clip.passed else "DIFFERS")
        )
    out.print("passed" if report.passed else "FAILED")
