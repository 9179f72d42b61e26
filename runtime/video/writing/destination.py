"""What a film may be written over: never its own source, and another film only if that is wanted."""

from __future__ import annotations

import os
from pathlib import Path

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.reading.source import Source

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mkv": "matroska",
    ".mov": "mov",
    ".avi": "avi",
    ".webm": "webm",
    ".gif": "gif",
    ".webp": "webp",
    ".y4m": "yuv4mpegpipe",
}
"""Films are known by the suffix of their names."""

JOINED = frozenset({"mp4", "matroska", "mov", "avi", "webm"})
"""Containers that a film's pieces are joined in; the others are written from the first frame to the last."""


def container_of(destination: str | Path) -> str:
    """The container that a name asks for, by FFmpeg's name; "-" is y4m on stdout.

    Raises:
        VideoError: its suffix names none.
    """
    if str(destination) == "-":
        return FORMATS[".y4m"]
    suffix = Path(destination).suffix.lower()
    if suffix not in FORMATS:
        raise VideoError(
            f"{destination}: unknown kind of video {suffix!r}; use {', '.join(FORMATS)}, or .png, .jpg, .bmp, .tif for pictures"
        )
    return FORMATS[suffix]


def is_film(destination: str | Path) -> bool:
    """Whether a name is that of a film."""
    return Path(destination).suffix.lower() in FORMATS


def check_destination(source: Source, destination: str | Path, overwrite: bool) -> None:
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
        begun = place.with_name(f"{place.name}.parts").is_dir()
        ways = "go on with what an earlier run made by --resume, " if begun else ""
        raise VideoError(f"{destination} exists: {ways}choose another name, or replace it with --overwrite")


def place_of(destination: str | Path) -> Path:
    """The file that a name stands for: a link keeps pointing where it points, and the file behind it is the one replaced.

    Raises:
        VideoError: it is a folder, or in none.
    """
    final = Path(os.path.realpath(destination))
    if final.is_dir():
        raise VideoError(f"{destination}: is a folder; give a file name")
    if not final.parent.is_dir():
        raise VideoError(f"{destination}: folder {final.parent} does not exist; create it first")
    return final


def _is_file(source: Source) -> bool:
    return isinstance(source, str | Path) and str(source) != "-" and Path(source).is_file()
