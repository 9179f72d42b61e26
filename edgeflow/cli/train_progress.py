"""Trains under progress bars, until the end or Ctrl-C, and says where the weights are."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from edgeflow.training.checkpoint import Position
    from edgeflow.training.loop import Outcome, Run

INTERRUPTED = 130
"""Exit code of a training that was stopped."""


def train_and_keep(
    job: Run, folder: Path, keep: Callable[[int], Path], notes: Console, as_json: bool
) -> None:
    """Train to the end, keep the weights, and say where they are.

    Args:
        job: what is trained.
        folder: of the run.
        keep: writes the weights after so many steps; returns where.
        notes: stderr.
        as_json: say it as JSON.

    Raises:
        typer.Exit: it was stopped before the end.
    """
    outcome = _train_to_end(job, notes)
    if not outcome.finished:
        notes.print(f"stopped; the same command goes on from {folder}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    weights = keep(outcome.steps)
    if as_json:
        typer.echo(json.dumps({"weights": str(weights), "steps": outcome.steps, **job.identity}))
    else:
        typer.echo(f"trained {outcome.steps} steps; weights are in {weights}")


def _train_to_end(job: Run, notes: Console) -> Outcome:
    """Train under a progress bar until the end or Ctrl-C."""
    asked_to_stop = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notes) as bars:
        tasks: dict[str, TaskID] = {}

        def report(position: Position, done: float, loss: float) -> None:
            if position.stage not in tasks:
                tasks[position.stage] = bars.add_task(position.stage, total=1.0, said="")
            bars.update(
                tasks[position.stage], completed=min(done, 1.0), said=f"step {position.step}, loss {loss:.4f}"
            )

        before = {
            number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            return job.train(report, lambda: asked_to_stop)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
