"""Pictures that commands draw beside what they print."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from edgeflow.cli.reports import check_reports
from edgeflow.ir.errors import InputError
from edgeflow.ir.files import write_atomically
from edgeflow.ir.installing import with_extras

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".svg", ".pdf")


def check_drawing(overwrite: bool, picture: Path | None) -> None:
    """Refuse, before any work, a picture that could not be drawn; nothing is asked of None.

    Args:
        overwrite: it may be replaced.
        picture: the file.

    Raises:
        InputError: it is of another kind than `KINDS`, is there already, or nothing to draw with is installed.
    """
    check_reports(overwrite, picture)
    if picture is None:
        return
    if picture.suffix.lower() not in KINDS:
        raise InputError(f"{picture}: pictures are drawn as {', '.join(KINDS)} files: choose one of these")
    check_can_draw()


def check_can_draw() -> None:
    """Refuse, before any work, where nothing to draw with is installed.

    Raises:
        InputError: says what to install.
    """
    if find_spec("matplotlib") is None:
        raise InputError(f"pictures are drawn by matplotlib: {with_extras('plots')}")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def store(figure: Figure, picture: Path) -> None:
    """Write a figure.

    Raises:
        BundleError: the file cannot be written.
    """
    drawn = BytesIO()
    figure.savefig(drawn, format=picture.suffix.lower()[1:], dpi=150)
    write_atomically(picture, drawn.getvalue())
