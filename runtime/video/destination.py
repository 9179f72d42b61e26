"""What a film may be written over: never its own source, and another film only if that is wanted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from edgeflow.ir.errors import VideoError

FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov", ".avi": "avi", ".y4m": "yuv4mpegpipe"}
"""Films are known by the suffix of their names."""


def is_film(destination: str | Path) -> bool:
    """Whether a name is that of a film."""
    return Path(destination).suffix in FORMATS


def check_destination(source: str | Path | BinaryIO, destination: str | Path, overwrite: bool) -> None:
    """Refuse a destination that would cost somebody a file. Devices, pipes and "-" hold nothing to lose.

    Args:
        source: what is read: a path, "-", or a binary file object.
        destination: what would be written.
        overwrite: whether a file that is there may be replaced.

    Raises:
        VideoError: the destination is the source, under whatever name, or a file that is there already.
    """
    place = Path(destination)
    if str(destination) == "-" or not place.is_file():
        return
    if _is_file(source) and os.path.samefile(str(source), place):
        raise VideoError(f"{destination} is the video that is read: write to another file")
    if not overwrite:
        raise VideoError(f"{destination} exists: choose another name, or replace it with --overwrite")


def _is_file(source: str | Path | BinaryIO) -> bool:
    return isinstance(source, str | Path) and str(source) != "-" and Path(source).is_file()
