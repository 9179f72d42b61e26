"""Prints a support report."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from edgeflow.cli.console import out


def print_support(report: dict[str, Any]) -> None:
    """What TensorRT lacks of a bundle, as `Support.to_json` gives it."""
    versions, gaps = ", ".join(report["versions"]), report["gaps"]
    fatal = sum(gap["fatal"] for gap in gaps)
    kinds, count = len(report["operators"]), sum(report["operators"].values())
    verdict = f"{fatal} stand in the way" if fatal else "all can be built"
    out.print(f"support: {count} operators of {kinds} types, TensorRT {versions}: {verdict}", soft_wrap=True)
    if not gaps:
        return
    table = Table("", "operator", "TensorRT", "engines", "it", "what to do")
    for gap in gaps:
        mark = "stops" if gap["fatal"] else "note"
        where = str(len(gap["graphs"]))
        table.add_row(mark, gap["operator"], ", ".join(gap["versions"]), where, gap["reason"], gap["advice"])
    out.print(table)
