"""What is said of engines that are not simply at their bundle's precision."""

from __future__ import annotations

from collections.abc import Mapping

from edgeflow.cli.console import out
from edgeflow.ir.bundle import GraphEntry


def print_remarks(graphs: Mapping[str, GraphEntry], prefix: str) -> None:
    """A line for every engine with a note, and one with its layers that stay in float, if it has such."""
    for name, entry in graphs.items():
        if entry.note:
            out.print(f"{prefix}{name} ({entry.precision}): {entry.note}", soft_wrap=True)
        if entry.float_layers:
            out.print(f"{prefix}{name} {in_float(entry.float_layers)}", soft_wrap=True)


def in_float(layers: tuple[str, ...]) -> str:
    """Which layers of an int8 engine are not quantised."""
    return f"keeps {len(layers)} {'layer' if len(layers) == 1 else 'layers'} in float: {', '.join(layers)}"
