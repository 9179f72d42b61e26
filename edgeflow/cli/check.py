"""`edgeflow check`: is the bundle whole, and do its engines compute what the model does?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from edgeflow.cli.console import err, out, print_json
from edgeflow.cli.engine_options import Library
from edgeflow.cli.remarks import in_float
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.layer_errors import LayerError, load_layers
from edgeflow.ir.libraries import library as described
from edgeflow.runtime.check import CheckReport
from edgeflow.runtime.check import check as check_bundle
from edgeflow.runtime.checking.engines import GraphCheck
from edgeflow.runtime.machine import in_words


def check(
    bundle: Annotated[Path, typer.Argument(help="The bundle to check.")],
    library: Library = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show what each layer below fp32 loses, as found at export.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a bundle on this machine against the golden vectors inside it. Needs no torch.

    Every file is hashed, every engine is run, and whole frames are compared with what the
    model's own code made of them at export, at fp32: picture, and every routing decision.
    What may differ depends on the bundle's precision, and is printed.
    Exits with 1 if anything differs too much.
    """
    opened = open_bundle(bundle)
    losses = load_layers(bundle) if layers else {}
    with err.status("check") as status, _with_bodies(opened, library) as whole:
        report = check_bundle(whole, library=library, progress=lambda what: status.update(f"check {what}"))
    if json:
        found = {name: list(map(asdict, errors)) for name, errors in losses.items()}
        print_json({**report.to_json(), **({"layers": found} if layers else {})})
    else:
        for name, errors in losses.items():
            _print_layers(name, errors)
        _print(report)
    if not report.passed:
        raise typer.Exit(1)


def _with_bodies(bundle: Bundle, library: str | None) -> AbstractContextManager[Bundle]:
    """For processors a copy that holds what TensorRT's plugins compute, where the export's packages are."""
    plugins = {name for entry in bundle.manifest.graphs.values() for name in entry.plugins}
    if plugins:
        with suppress(ImportError):
            from edgeflow.export.plugins.bodies import runnable

            runs = described(library).bodies if library else frozenset[str]()
            if runs is None or plugins <= runs:
                return runnable(bundle)
    return nullcontext(bundle)


def _print_layers(graph: str, errors: Sequence[LayerError]) -> None:
    title = f"{graph}: signal to error of each layer's output against fp32"
    table = Table("layer", "precision", "alone", "accumulated", title=title)
    for error in errors:
        alone = "exact" if error.alone_db is None else f"{error.alone_db:.1f} dB"
        table.add_row(error.layer, error.precision, alone, f"{error.accumulated_db:.1f} dB")
    out.print(table)


def _by_engine(graphs: Sequence[GraphCheck]) -> dict[str, list[GraphCheck]]:
    """What was found at all shapes of each engine."""
    found: dict[str, list[GraphCheck]] = {}
    for graph in graphs:
        found.setdefault(graph.graph.split()[0], []).append(graph)
    return found


def _used(graph: GraphCheck) -> float:
    """How much of what an engine is allowed it takes: the largest is the nearest to failing."""
    if graph.allowed is not None:
        return graph.max_error / graph.allowed
    return -graph.sqnr_db


def _print(report: CheckReport) -> None:
    here = in_words(report.instructions)
    title = f"{report.library} {report.version}, {report.precision}, {report.accelerator or here}"
    table = Table("engine", "at", "shapes", "error", "SNR", "limit", "", title=title)
    for name, shapes in _by_engine(report.graphs).items():
        for graph in [shape for shape in shapes if not shape.passed] or [max(shapes, key=_used)]:
            table.add_row(
                name if graph.passed else graph.graph,
                graph.precision,
                str(len(shapes) if graph.passed else 1),
                f"{graph.max_error:.1e}",
                f"{graph.sqnr_db:.1f} dB",
                f"{graph.allowed:.1e}" if graph.allowed is not None else f"{graph.minimum_sqnr_db:.0f} dB",
                "ok" if graph.passed else "DIFFERS",
            )
    out.print(table)
    if report.judged_on:
        out.print(
            f"at export int8 engines were judged on {report.judged_on}; this processor ({here}) is of another kind",
            soft_wrap=True,
        )
    for graph in report.graphs:
        if graph.float_layers:
            out.print(f"{graph.graph} {in_float(graph.float_layers)}", soft_wrap=True)
    for clip in report.clips:
        out.print(
            f"{clip.frames} frames: {clip.calls} calls, PSNR {clip.psnr_db:.1f} dB before rounding "
            f"(at least {clip.minimum_psnr_db:.0f}), {clip.flips} of {clip.decisions} decisions differ "
            f"(at most {clip.gate.flip_rate:.0%}), rounding within {clip.rounding} levels: "
            + ("ok" if clip.passed else "DIFFERS"),
            soft_wrap=True,
        )
    for kind in report.not_built:
        out.print(f"{kind} frames: not checked, their engines are not built here", soft_wrap=True)
    out.print("passed" if report.passed else "FAILED")
