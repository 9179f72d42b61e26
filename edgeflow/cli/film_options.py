"""Options that say how films are made, read and written: of `edgeflow run`, and of what else makes films."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from edgeflow.ir.errors import InputError

if TYPE_CHECKING:
    from edgeflow.runtime.video.writing.encoder import Encoding

Times = Annotated[
    str | None,
    typer.Option(
        metavar="INTEGER",
        help="Multiply the frame rate, if the model interpolates: by 2 (the default), 4 or 8, or by any number if it takes a time.",
    ),
]

FilmFps = Annotated[
    str | None,
    typer.Option(
        help="Frames per second of the result instead, such as 60 or 59.94, whatever the video has, if the model takes a time."
    ),
]

Spread = Annotated[
    bool,
    typer.Option(
        "--spread",
        help="Leave out frames that repeat the one before, as animation on twos does, and spread motion over their time.",
    ),
]

Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="AXIS=VALUE", help="Take this route everywhere, for example exit=5. Repeatable."),
]

PolicyRules = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=RULE|budget",
        help="Decide an axis by another rule, for example mode=interval:5, its first value every 5 frames, or "
        "mode=drift:0.3:12, when the model's measure exceeds 0.3 and at least every 12 frames. Repeatable. Or budget: routes "
        "that hold --budget-ms.",
    ),
]

QualityWeight = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="How much quality counts against time, where a model weighs them: 0 takes as little time as it can, 1 whatever "
        "it takes, 0.5 is the model's own.",
    ),
]

CodecName = Annotated[
    str | None,
    typer.Option(
        help="FFmpeg's encoder: libx264, libx265, libvpx-vp9, libsvtav1, ffv1, prores_ks and others."
    ),
]

Crf = Annotated[
    float | None,
    typer.Option(min=0, max=63, help="Constant quality, as the encoder counts: less is better."),
]

Bitrate = Annotated[str | None, typer.Option(help="Bits a second in place of --crf, such as 4M or 800k.")]

Bits = Annotated[str, typer.Option(metavar="auto|8", help="Bits of each channel: those of the source, or 8.")]

Deinterlace = Annotated[
    bool, typer.Option("--deinterlace", help="Make one picture of the two fields of an interlaced one.")
]

Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a damaged video; otherwise its time is kept, and the damage said."),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]


@dataclass(frozen=True)
class FilmAsked:
    """What was asked of a film, whichever command makes it.

    Attributes:
        times: multiple of the frame rate.
        fps: frames per second instead.
        spread: leave out frames that repeat the one before.
        encoding: how pictures are stored.
        deinterlace: make one picture of two fields.
        strict: refuse a damaged video.
    """

    times: int | None
    fps: Fraction | None
    spread: bool
    encoding: Encoding
    deinterlace: bool
    strict: bool

    @property
    def faster(self) -> bool:
        """Whether another frame rate was asked for, or motion spread over it."""
        return bool(self.times or self.fps or self.spread)


_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def parse_film(
    times: str | None,
    fps: str | None,
    spread: bool,
    encoding: tuple[str | None, float | None, str | None, str],
    deinterlace: bool,
    strict: bool,
) -> FilmAsked:
    """What the options ask of a film; `encoding` are --codec, --crf, --bitrate and --bits.

    Raises:
        InputError: one of them says nothing that can be.
    """
    from edgeflow.runtime.video.rate import parse_fps

    return FilmAsked(
        None if times is None else parse_times(times),
        None if fps is None else parse_fps(fps),
        spread,
        parse_encoding(*encoding),
        deinterlace,
        strict,
    )


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
