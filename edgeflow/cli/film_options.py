"""Options of `edgeflow run` that say how a film is read and written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeflow.ir.errors import InputError

if TYPE_CHECKING:
    from edgeflow.runtime.video.writing.encoder import Encoding

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def parse_time(text: str) -> float:
    """Seconds of `90`, `1:30` or `0:01:30.5`.

    Raises:
        InputError: it says something else.
    """
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?)", text)
    if match is None:
        raise InputError(f"--start {text}: give seconds, or H:MM:SS, such as 90 or 0:01:30")
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def parse_times(text: str) -> int:
    """The multiple of a film's rate.

    Raises:
        InputError: it is no whole number from 1 on.
    """
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise InputError(
            f"--times {text}: give a whole number such as 2, 4 or 8; for any rate, such as 60 frames a second, give --fps 60 if the "
            "model takes a time"
        )
    return int(text)


def parse_encoding(codec: str | None, crf: float | None, bitrate: str | None, bits: str) -> Encoding:
    """What is asked of the encoder.

    Raises:
        InputError: two of these exclude each other, or one says nothing that can be.
    """
    from edgeflow.runtime.video.writing.encoder import Encoding

    if crf is not None and bitrate is not None:
        raise InputError("--crf and --bitrate both decide the quality: give one of them")
    if bits not in ("auto", "8"):
        raise InputError(f"--bits {bits}: give auto, for those of the source, or 8")
    return Encoding(codec, crf, _rate(bitrate) if bitrate else None, 8 if bits == "8" else None)


def _rate(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", text)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"--bitrate {text}: give bits a second, such as 4M or 800k")
    return int(float(match[1]) * _UNITS[match[2].lower()])
