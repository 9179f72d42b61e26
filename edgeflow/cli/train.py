"""`edgeflow train`: train a model on your own clips, one command per family."""

from __future__ import annotations

from typing import Any

import typer

from edgeflow.cli.plain_help import PlainGroup


class _Families(PlainGroup):
    """A command for every family that can be trained, found when one is asked for: families need torch."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the families."""
        from edgeflow.models import families

        return [name for name, family in families().items() if family.recipe]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a family."""
        from edgeflow.cli.train_family import command_of
        from edgeflow.models import families

        return command_of(families()[cmd_name]) if cmd_name in self.list_commands(ctx) else None


app = typer.Typer(cls=_Families, help="Train a model on your own video clips.", no_args_is_help=True)


@app.callback()
def families() -> None:
    """Train a model on your own video clips."""
