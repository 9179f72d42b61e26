"""One piece of a film: a file of encoded pictures that begins with a key picture, and is joined with others later (`join`)."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.colour import Colour
from edgeflow.runtime.video.reading.info import VideoInfo
from edgeflow.runtime.video.writing.destination import container_of
from edgeflow.runtime.video.writing.encoder import Codec, Encoder, Encoding, choose, time_base
from edgeflow.runtime.video.writing.pieces import AHEAD
from edgeflow.runtime.video.writing.writer import write_error


@dataclass(frozen=True)
class Storing:
    """How a film's pictures are stored, the same in all its pieces.

    Attributes:
        name: of the film, for messages.
        kind: its container, by FFmpeg's name.
        size: (width, height) of its pictures.
        fps: frames per second.
        tick: what times are counted in, seconds.
        codec: what encodes them.
        colour: of the pictures.
        pixel_aspect: width of a pixel over its height.
    """

    name: str
    kind: str
    size: tuple[int, int]
    fps: Fraction
    tick: Fraction
    codec: Codec
    colour: Colour
    pixel_aspect: Fraction | None


def storing_of(
    destination: Path, size: tuple[int, int], fps: Fraction, asked: Encoding, like: VideoInfo
) -> Storing:
    """How a film's pictures are stored.

    Args:
        destination: path of the film.
        size: (width, height) of its pictures.
        fps: frames per second.
        asked: of the encoder.
        like: the film that it is made of.

    Raises:
        VideoError: the destination's suffix names no container.
        InputError: the encoder that was asked for cannot be had.
    """
    kind = container_of(destination)
    codec = choose(asked, kind, size, like, fps / like.fps)
    tick = time_base(fps, kind)
    return Storing(str(destination), kind, size, fps, tick, codec, like.colour, like.pixel_aspect)


class PieceFile:
    """Writes one piece.

    Args:
        path: of the file.
        storing: how its pictures are stored.

    Attributes:
        written: pictures in it.
    """

    def __init__(self, path: Path, storing: Storing) -> None:
        self._path, self._storing = path, storing
        self._container = av.open(f"file:{path}", "w", format="nut")
        self._encoder = Encoder(
            self._container,
            storing.codec,
            storing.size,
            storing.fps,
            storing.colour,
            storing.pixel_aspect,
            storing.tick,
        )
        self.written = 0

    def encode(self, frame: NDArray[Any], time: Fraction) -> None:
        """Append a picture, (height, width, 3) uint8 or uint16, shown at a time in seconds."""
        self._container.mux(self._encoder.encode(frame, time + AHEAD * self._storing.tick))
        self.written += 1

    def close(self, before: int = 0) -> None:
        """Complete it.

        Args:
            before: pictures of the film that were written before, for messages.

        Raises:
            VideoError: the rest could not be stored.
        """
        try:
            self._container.mux(self._encoder.flush())
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise VideoError(write_error(self._storing.name, before + self.written, error)) from error

    def drop(self) -> None:
        """Let go of a piece that is not whole."""
        with suppress(av.FFmpegError, OSError):
            self._container.close()
        self._path.unlink(missing_ok=True)


def try_storing(storing: Storing) -> None:
    """Encode one picture in memory: an encoder or container that refuses says so before the first frame.

    Raises:
        InputError: it does.
    """
    codec, kind, size = storing.codec, storing.kind, storing.size
    try:
        with av.open(io.BytesIO(), "w", format=kind) as out:
            encoder = Encoder(out, codec, size, storing.fps, Colour(), None)
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            out.mux([*encoder.encode(picture, Fraction(0)), *encoder.flush()])
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{storing.name}: {kind} cannot hold {codec.name} pictures of {size[0]}x{size[1]} with these settings ({error}): "
            "choose another --codec or container"
        ) from error
