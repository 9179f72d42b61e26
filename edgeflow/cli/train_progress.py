"""Trains under progress bars, until the end or Ctrl-C."""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from edgeflow.training.checkpoint import Position
    from edgeflow.training.loop import Outcome, Run

INTERRUPTED = 130
"""Exit code of a training that was stopped."""


def train_to_end(job: Run, notes: Console) -> Outcome:
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

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return job.train(report, lambda: asked_to_stop)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
