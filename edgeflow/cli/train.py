"""`edgeflow train`: train a model of edgeflow on your own clips, one command per family."""

from __future__ import annotations

import typer

from edgeflow.cli.train_cain_sd import cain_sd
from edgeflow.cli.train_shortcut_v2v import shortcut_v2v

app = typer.Typer(help="Train a model on your own video clips.", no_args_is_help=True)


@app.callback()
def families() -> None:
    """Train a model on your own video clips."""


app.command("cain-sd")(cain_sd)
app.command("shortcut-v2v")(shortcut_v2v)
