"""`edgeflow targets`: what bundles can be made for."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from edgeflow.cli.console import out, print_json
from edgeflow.targets import load, names


def targets(
    json: Annotated[bool, typer.Option("--json", help="Print the targets as JSON.")] = False,
) -> None:
    """List the targets that `edgeflow export --target` takes."""
    known = [load(name) for name in names()]
    if json:
        print_json([target.to_json() for target in known])
        return
    table = Table("target", "what", "engine library", "precisions", "static batches")
    for target in known:
        library = f"{target.library} >= {target.minimum}"
        batches = ", ".join(map(str, target.batches))
        table.add_row(target.name, target.description, library, ", ".join(target.precisions), batches)
    out.print(table)
