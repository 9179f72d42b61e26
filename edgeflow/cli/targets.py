"""`edgeflow targets`: what bundles can be made for."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from edgeflow.cli.console import out, print_json
from edgeflow.cli.plain_help import PlainCommand, PlainGroup
from edgeflow.targets import Target, load, names

app = typer.Typer(
    cls=PlainGroup, help="List the targets that `edgeflow export --target` takes, or explain one."
)

JSON = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.callback(invoke_without_command=True)
def targets(context: typer.Context, json: JSON = False) -> None:
    """List the targets that `edgeflow export --target` takes; `targets show NAME` explains one."""
    if context.invoked_subcommand:
        return
    known = [load(name) for name in names()]
    if json:
        print_json([target.to_json() for target in known])
        return
    columns = (Column(name, overflow="fold") for name in ("what", "engine library", "precisions"))
    table = Table(Column("target", no_wrap=True), *columns)
    for target in known:
        table.add_row(target.name, target.description, _library(target), ", ".join(target.precisions))
    out.print(table)


@app.command(cls=PlainCommand)
def show(
    name: Annotated[str, typer.Argument(help="A target's name, or a .toml file of your own.")],
    json: JSON = False,
) -> None:
    """Explain a target: the device's facts, where each comes from, and what engines it gets."""
    target = load(name)
    if json:
        print_json(target.to_json())
        return
    out.print(f"{target.name}: {target.description}")
    rows = {
        "versions": _library(target),
        "precision": " or ".join(
            (target.precision, *(p for p in target.precisions if p != target.precision))
        ),
        "batches": ", ".join(map(str, target.batches)),
        "rewrites": ", ".join(target.rewrites) or "none",
        "operators": target.operators,
        "compute_capability": target.compute_capability,
        "memory_gb": f"{target.memory_gb:g} GB" + (", shared with the host" if target.unified_memory else ""),
        "roofline.gflops": f"{target.roofline.gflops:g} GFLOP/s",
        "roofline.gbytes": f"{target.roofline.gbytes:g} GB/s",
        "roofline.launch_ms": f"{target.roofline.launch_ms:g} ms a launch",
        "releases": "; ".join(f"{version}: {where}" for version, where in target.releases.items()),
        "since": "; ".join(
            f"{precision}: {target.library} {first}" for precision, first in target.since.items()
        ),
    }
    table = Table("fact", "value", "source", show_header=True)
    for field, value in rows.items():
        if value:
            table.add_row(field, value, target.sources.get(field, ""))
    out.print(table)


def _library(target: Target) -> str:
    first, last = target.versions[0], target.versions[-1]
    return f"{target.library} {first}" + (f" to {last}" if last != first else "")
