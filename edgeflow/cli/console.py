"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

out = Console(markup=False, highlight=False)
err = Console(stderr=True, markup=False, highlight=False)


def print_json(data: Any) -> None:
    """Print plain data as JSON on stdout."""
    sys.stdout.write(json.dumps(data, indent=1) + "\n")


def progress_bar() -> Progress:
    """A progress bar on stderr that disappears when it is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True)


def megabytes(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 1e6:.2f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"
