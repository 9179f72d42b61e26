"""Files that commands write beside a bundle or film: reports, traces, pictures. None takes the place of a file that is there."""

from __future__ import annotations

from pathlib import Path

from edgeflow.ir.errors import InputError


def check_reports(overwrite: bool, *paths: Path | None) -> None:
    """Refuse, before any work, to write over files.

    Args:
        overwrite: they may be replaced.
        paths: of the files to be written; None for those that are not. Devices and pipes hold nothing to lose.

    Raises:
        InputError: one is there, is a folder, or has no folder.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f"{path} is a folder: give a file name")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
        if path.is_file() and not overwrite:
            raise InputError(f"{path} exists: choose another name, or replace it with --overwrite")
