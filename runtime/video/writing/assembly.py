"""A film out of its pieces: how its pictures are stored, what of its source goes along, and the join."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.rate import Rate
from edgeflow.runtime.video.reading.info import VideoInfo
from edgeflow.runtime.video.reading.source import open_source
from edgeflow.runtime.video.writing.destination import place_of
from edgeflow.runtime.video.writing.encoder import Encoding, check_room
from edgeflow.runtime.video.writing.join import Sound, join
from edgeflow.runtime.video.writing.piece_file import storing_of, try_storing
from edgeflow.runtime.video.writing.pieces import fingerprint_of
from edgeflow.runtime.video.writing.tracks import what_fits
from edgeflow.runtime.video.writing.writer import write_error


@dataclass(frozen=True)
class Filming:
    """What a film is made of, and how.

    Attributes:
        source: Path of the film whose frames are taken.
        destination: Path of the film to write.
        size: (width, height) of its pictures.
        rate: When its pictures are shown.
        asked: Of the encoder.
        start: Seconds into the source at which it begins.
        frames: Of the source that are read at most; all if None.
        what: Whatever else the pictures depend on: model, policy, overlay.
        resume: Go on with what an earlier run left.
        overwrite: A film that is there may be replaced.
    """

    source: Path
    destination: Path
    size: tuple[int, int]
    rate: Rate
    asked: Encoding
    start: float
    frames: int | None
    what: Mapping[str, Any]
    resume: bool
    overwrite: bool


class Assembly:
    """Knows a film's form before its first picture, and joins its pieces.

    Args:
        film: What it is made of, and how.
        info: What the film says of itself that the frames come from.

    Attributes:
        storing: how its pictures are stored.
        remarks: what of the source cannot be kept, one line each.

    Raises:
        VideoError: the destination cannot be written, or the disk is too full.
        InputError: the encoder that was asked for cannot be had.
    """

    def __init__(self, film: Filming, info: VideoInfo) -> None:
        self._film, self._info = film, info
        place = place_of(film.destination)
        fps = film.rate.of(info.fps)
        self.storing = storing_of(film.destination, film.size, fps, film.asked, info)
        with open_source(film.source)[1] as source:
            carried = what_fits(source, info.index, self.storing.kind, str(film.destination))
        self._streams = carried.streams
        self.remarks: tuple[str, ...] = (*self.storing.codec.remarks, *carried.remarks)
        try_storing(self.storing)
        free = shutil.disk_usage(place.parent).free
        seconds = None if info.seconds is None else max(info.seconds - film.start, 0.0)
        check_room(seconds, self.storing.codec, film.size, fps, free, str(film.destination))

    def made_of(self) -> Mapping[str, Any]:
        """What tells this film from others: its pieces go with no others."""
        film, codec = self._film, self.storing.codec
        return {
            "source": [str(film.source.resolve()), *fingerprint_of(film.source)],
            "size": list(film.size),
            "rate": repr(film.rate),
            "codec": [codec.name, codec.layout, codec.bit_rate, dict(codec.options)],
            "start": film.start,
            "frames": film.frames,
            "settings": dict(film.what),
        }

    def join(self, pieces: Sequence[Path], count: int, until: float | None, into: Path) -> tuple[str, ...]:
        """Join whole pieces into a film, without encoding again.

        Args:
            pieces: in order, at least one.
            count: pictures in them.
            until: seconds after which the source's sound is left out; None for all of it.
            into: the file to write.

        Returns:
            What of the source could not be kept, one line each.

        Raises:
            VideoError: it cannot be written, or pictures are missing; the pieces stay.
        """
        film, storing = self._film, self.storing
        origin = self._info.origin + Fraction(film.start).limit_denominator(90_000)
        sound = Sound(film.source, self._info.index, self._streams, origin, bool(film.start), until)
        try:
            found, dropped = join(pieces, sound, into, storing.kind, storing.tick, storing.colour)
        except (av.FFmpegError, OSError) as error:
            into.unlink(missing_ok=True)
            raise VideoError(write_error(str(film.destination), count, error)) from error
        if found != count:
            raise VideoError(
                f"{film.destination}: the join has {found} pictures of {count}; its pieces are in {pieces[0].parent}"
            )
        if not dropped:
            return ()
        return (f"{film.source}: {dropped} damaged packets of sound or subtitles are left out",)
