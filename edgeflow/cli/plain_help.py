"""Help as people read it: a switch takes no value, so it has no type."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose help names no type for switches."""

    def get_params(self, ctx: Any) -> Any:
        """Its options, and --help."""
        return _plain(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The same of commands that have commands."""

    def get_params(self, ctx: Any) -> Any:
        """Its options, and --help."""
        return _plain(super().get_params(ctx))


def _plain(options: Any) -> Any:
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options
