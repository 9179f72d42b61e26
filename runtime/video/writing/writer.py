"""Writes RGB frames as a film from the first to the last, or as y4m for the next program in a pipe.

The file appears under its name when it is complete, or stopped: frames go to a temporary name beside it,
which is renamed at the end. A destination that is a device or a pipe cannot be replaced and is written straight.
What is long to make is written in pieces instead (`film_writer`).

Most pictures are stored as 4:2:0, which every player shows. That format cannot hold an odd width or height,
so those are stored as 4:4:4: the size stays what it was, at the price of players that decode 4:2:0
only (QuickTime, some televisions); padding would have changed the picture for everyone. The source's
colour tags are carried on and its matrix and range used, so the stored numbers mean what they meant.
y4m states its range but no matrix, and gets the matrix that is assumed for its size.

Audio is copied packet by packet, never re-encoded. What the container cannot hold is left out and
`VideoWriter.warnings` says so: a video without its sound beats none.
"""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.colour import Colour
from edgeflow.runtime.video.reading.reader import VideoReader
from edgeflow.runtime.video.writing.destination import container_of, place_of
from edgeflow.runtime.video.writing.encoder import EVEN, Encoder, Encoding, choose


class VideoWriter:
    """Writes one video; use it in a with statement.

    Args:
        destination: A path whose suffix names the container, or "-" for y4m on stdout.
        width: Frame width in pixels.
        height: Frame height in pixels.
        fps: Frames per second.
        like: The video the frames come from: its colours, pixel shape and audio streams are kept.
        asked: Of the encoder.
        times: `fps` over the rate of that video.

    Attributes:
        warnings: What of the source could not be kept, one line each.
        written: Frames in the file.

    Raises:
        VideoError: The destination cannot be written or its suffix names no container known here.
    """

    def __init__(
        self,
        destination: str | Path,
        *,
        width: int,
        height: int,
        fps: Fraction,
        like: VideoReader | None = None,
        asked: Encoding | None = None,
        times: Fraction = Fraction(1),
    ) -> None:
        self._name = "stdout" if str(destination) == "-" else str(destination)
        self._size = (width, height)
        self._tick = 1 / fps
        self._next = like.info.start if like else Fraction(0)
        self.written = 0
        self._closed = False
        self._audio: dict[Stream, Stream] = {}
        self._audio_shift = like.info.origin if like else Fraction(0)
        self.warnings: tuple[str, ...] = ()
        self._final: Path | None = None
        self._temporary: Path | None = None
        self._stdout: BinaryIO | None = None
        kind = container_of(destination)
        self._even: Even | None = Even(fps) if kind in EVEN else None
        info = like.info if like else None
        codec = choose(asked or Encoding(), kind, self._size, info, times)
        self.warnings += codec.remarks
        self._container = self._create(destination, kind)
        try:
            with self._one_line_errors():
                colour, aspect = (info.colour, info.pixel_aspect) if info else (Colour(), None)
                self._encoder = Encoder(self._container, codec, self._size, fps, colour, aspect)
                self._add_audio(like)
                self._container.start_encoding()
        except BaseException:
            self._discard()
            raise

    def write(self, frame: NDArray[Any], time: Fraction | None = None) -> None:
        """Append one frame.

        Args:
            frame: (height, width, 3), uint8, or uint16 for more bits.
            time: When it is shown, in seconds; after the last one, evenly, if not given.

        Raises:
            InputError: The frame's size is not the video's.
            VideoError: The frame could not be stored.
            BrokenPipeError: Nobody reads stdout any more.
        """
        width, height = self._size
        if frame.shape != (height, width, 3):
            raise InputError(
                f"{self._name}: frame {self.written} has shape {frame.shape}, the video needs "
                f"{(height, width, 3)}; write frames of one size"
            )
        at = self._next if time is None else time
        self._next = at + self._tick
        for own, place in self._even.put(frame, at) if self._even else ((frame, at),):
            self._encode(own, place)

    def write_audio(self, packets: Iterable[Packet[Stream]]) -> None:
        """Copy packets of the source's audio streams; those that are not kept are skipped.

        Raises:
            VideoError: A packet could not be stored.
        """
        for packet in packets:
            target = self._audio.get(packet.stream)
            if target is None:
                continue
            shift = round(self._audio_shift / packet.time_base)
            if packet.pts is not None:
                packet.pts -= shift
            if packet.dts is not None:
                packet.dts -= shift
            packet.stream = target
            with self._one_line_errors():
                self._container.mux(packet)

    def done(self, frames: int, scene: int) -> None:
        """All that is made of so many frames of the source was written; here nothing hangs on it."""

    def close(self) -> None:
        """Complete the file and give it its name; once more does nothing.

        Raises:
            VideoError: The rest could not be stored; nothing is left then.
        """
        if self._closed:
            return
        self._closed = True
        try:
            with self._one_line_errors():
                self._container.mux(self._encoder.flush())
                self._container.close()
                if self._stdout is not None:
                    self._stdout.flush()
                if self._temporary is not None and self._final is not None:
                    self._temporary.replace(self._final)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def _encode(self, frame: NDArray[Any], time: Fraction) -> None:
        with self._one_line_errors():
            self._container.mux(self._encoder.encode(frame, time))
        self.written += 1

    def _create(self, destination: str | Path, kind: str) -> OutputContainer:
        if str(destination) == "-":
            try:
                self._stdout = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115
            except (OSError, ValueError, AttributeError) as error:
                raise VideoError("stdout is closed: name a file to write, or open a pipe") from error
            return av.open(self._stdout, "w", format=kind)
        path = final = place_of(destination)
        if final.is_file() or not final.exists():
            self._final = final
            self._temporary = path = final.with_name(f".edgeflow-{secrets.token_hex(6)}.part")
        with self._one_line_errors():
            return av.open(f"file:{path}", "w", format=kind)

    def _add_audio(self, like: VideoReader | None) -> None:
        for source, codec in zip(like.audio, like.info.audio, strict=True) if like else ():
            if codec in self._container.supported_codecs:
                self._audio[source] = self._container.add_stream_from_template(source)
            else:
                self.warnings += (f"{self._name}: cannot hold {codec} sound, which was left out; .mkv may",)

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if self._stdout is not None and error.errno == errno.EPIPE:
                raise BrokenPipeError(errno.EPIPE, "nobody reads stdout any more") from error
            raise VideoError(write_error(self._name, self.written, error)) from error

    def _discard(self) -> None:
        # The container closes its file even when the trailer no longer fits.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def write_error(name: str, frame: int, error: BaseException) -> str:
    """Why a film cannot be written, and what to do."""
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC:
        remedy = "the disk is full; free some space or write elsewhere"
    elif number in (errno.EFBIG, errno.EDQUOT):
        remedy = (
            f"no more may be written there ({os.strerror(number)}); raise the limit (`ulimit -f`, the disk quota, "
            "or the largest file that the disk's file system holds), or write elsewhere"
        )
    elif number == errno.EPIPE:
        remedy = "nobody reads it any more"
    elif isinstance(error, av.FFmpegError) and number not in (
        errno.EACCES,
        errno.EROFS,
        errno.ENOENT,
        errno.EIO,
    ):
        remedy = f"the encoder or container refuses it ({error.strerror or type(error).__name__}); try another container, such as .mkv, or --codec"
    else:
        remedy = (
            f"{getattr(error, 'strerror', None) or type(error).__name__}; check the place it is written to"
        )
    return f"{name}: cannot be written at frame {frame}: {remedy}"


class Even:
    """Lets pictures of any times come evenly, for containers that store none: they are repeated, or left out where two share a place."""

    def __init__(self, fps: Fraction) -> None:
        self._fps = fps
        self._last: NDArray[Any] | None = None
        self._next = 0

    def put(self, frame: NDArray[Any], time: Fraction) -> Iterator[tuple[NDArray[Any], Fraction]]:
        """One more picture, after the one before as often as that still stands."""
        place = round(time * self._fps)
        if self._last is not None:
            for number in range(self._next, place):
                yield self._last, number / self._fps
        if self._last is None or place >= self._next:
            yield frame, place / self._fps
            self._next = place + 1
        self._last = frame
