"""Writes RGB frames as H.264 video, or as y4m for the next program in a pipe.

The file appears under its name only when it is complete: frames go to a temporary name beside it,
which is renamed at the end and removed when anything goes wrong. A destination that is a device or
a pipe cannot be replaced and is written straight.

H.264 is stored as yuv420p, which every player shows. That format cannot hold an odd width or height,
so those are stored as yuv444p: the size stays what it was, at the price of players that decode 4:2:0
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
from typing import BinaryIO

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.colour import Colour, Frame, Rgb, assumed_matrix
from edgeflow.runtime.video.destination import FORMATS
from edgeflow.runtime.video.reader import VideoReader

_Y4M = FORMATS[".y4m"]
_H264 = {"crf": "16", "preset": "veryfast"}


class VideoWriter:
    """Writes one video; use it in a with statement.

    Args:
        destination: A path whose suffix names the container, or "-" for y4m on stdout.
        width: Frame width in pixels.
        height: Frame height in pixels.
        fps: Frames per second.
        like: The video the frames come from: its colours, pixel shape and audio streams are kept.

    Attributes:
        warnings: What of the source could not be kept, one line each.

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
    ) -> None:
        self._name = "stdout" if str(destination) == "-" else str(destination)
        self._size = (width, height)
        self._tick = 1 / fps
        self._colour = like.info.colour if like else Colour()
        self._next = round(like.info.start * fps) if like else 0
        self._written = 0
        self._closed = False
        self._audio: dict[Stream, Stream] = {}
        self._audio_shift = like.info.origin if like else Fraction(0)
        self.warnings: tuple[str, ...] = ()
        self._final: Path | None = None
        self._temporary: Path | None = None
        self._stdout: BinaryIO | None = None
        self._container = self._create(destination)
        try:
            with self._one_line_errors():
                self._video = self._add_video(fps)
                if like and like.info.pixel_aspect:
                    self._video.codec_context.sample_aspect_ratio = like.info.pixel_aspect
                self._add_audio(like)
                self._container.start_encoding()
            self._rgb = Rgb(self._colour)
        except BaseException:
            self._discard()
            raise

    def write(self, frame: Frame) -> None:
        """Append one frame.

        Raises:
            InputError: The frame's size is not the video's.
            VideoError: The frame could not be stored.
        """
        width, height = self._size
        if frame.shape != (height, width, 3):
            raise InputError(
                f"{self._name}: frame {self._written} has shape {frame.shape}, the video needs "
                f"{(height, width, 3)}; write frames of one size"
            )
        with self._one_line_errors():
            picture = self._rgb.to_picture(frame, self._video.codec_context.pix_fmt or "yuv420p")
            picture.pts, picture.time_base = self._next, self._tick
            self._container.mux(self._video.encode(picture))
        self._next += 1
        self._written += 1

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
                self._container.mux(self._video.encode(None))
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

    def _create(self, destination: str | Path) -> OutputContainer:
        if str(destination) == "-":
            self._stdout = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115
            return av.open(self._stdout, "w", format=_Y4M)
        suffix = Path(destination).suffix.lower()
        if suffix not in FORMATS:
            raise VideoError(f"{destination}: unknown kind of video {suffix!r}; use {', '.join(FORMATS)}")
        # A link keeps pointing where it points: the file behind it is the one replaced.
        final = Path(os.path.realpath(destination))
        if final.is_dir():
            raise VideoError(f"{destination}: is a folder; give a file name")
        if not final.parent.is_dir():
            raise VideoError(f"{destination}: folder {final.parent} does not exist; create it first")
        path = final
        if final.is_file() or not final.exists():
            self._final = final
            self._temporary = path = final.with_name(f".edgeflow-{secrets.token_hex(6)}.part")
        return av.open(f"file:{path}", "w", format=FORMATS[suffix])

    def _add_video(self, fps: Fraction) -> VideoStream:
        if self._container.format.name == _Y4M:
            stream = self._container.add_stream("rawvideo", rate=fps)
            # y4m states no matrix, so the one its readers assume must be used.
            self._colour = Colour(self._colour.full, assumed_matrix(self._size[1]), 2, 2, 2)
        else:
            # AVI stores no presentation times, so its frames must come in the order they are shown.
            order = {"bf": "0"} if self._container.format.name == "avi" else {}
            stream = self._container.add_stream("libx264", rate=fps, options=_H264 | order)
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv444p" if self._size[0] % 2 or self._size[1] % 2 else "yuv420p"
        context.time_base = self._tick
        context.color_range = 2 if self._colour.full else 1
        context.colorspace, context.color_primaries = self._colour.space, self._colour.primaries
        context.color_trc = self._colour.transfer
        return stream

    def _add_audio(self, like: VideoReader | None) -> None:
        for source, codec in zip(like.audio, like.info.audio, strict=True) if like else ():
            if codec in self._container.supported_codecs:
                self._audio[source] = self._container.add_stream_from_template(source)
            else:
                self.warnings += (f"{self._name}: cannot hold {codec} sound, which was left out; use .mkv",)

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if error.errno == errno.ENOSPC:
                remedy = "the disk is full; free some space or write elsewhere"
            else:
                remedy = f"{error.strerror or type(error).__name__}; check the place it is written to"
            raise VideoError(f"{self._name}: cannot be written at frame {self._written}: {remedy}") from error

    def _discard(self) -> None:
        # The container closes its file even when the trailer no longer fits.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
