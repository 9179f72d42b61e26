"""Writes a film in pieces, which are joined at the end: whatever stops the making, what is done stays and is gone on with."""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

import io
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.colour import Colour
from edgeflow.runtime.video.rate import Rate
from edgeflow.runtime.video.reading.reader import VideoReader
from edgeflow.runtime.video.reading.source import open_source
from edgeflow.runtime.video.writing.destination import check_destination, container_of, place_of
from edgeflow.runtime.video.writing.encoder import (
    EVEN,
    Codec,
    Encoder,
    Encoding,
    check_room,
    choose,
    time_base,
)
from edgeflow.runtime.video.writing.join import Sound, join
from edgeflow.runtime.video.writing.pieces import AHEAD, FRAMES, Parts, Piece, fingerprint_of
from edgeflow.runtime.video.writing.tracks import what_fits
from edgeflow.runtime.video.writing.writer import Even, write_error


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


class FilmWriter:
    """Writes one film; use it in a with statement.

    Args:
        film: What it is made of.
        like: The film that the frames come from.

    Attributes:
        warnings: What of the source could not be kept, one line each.
        written: Pictures in whole pieces, and in the one that is open.
        frames: Of the source that are done already, by an earlier run.
        scene: First frame of the scene that is open there.

    Raises:
        VideoError: The destination cannot be written, or may not be replaced, or the disk is too full.
        InputError: The encoder that was asked for cannot be had.
    """

    def __init__(self, film: Filming, like: VideoReader) -> None:
        self._film, self._like = film, like
        self._output = place_of(film.destination)
        self._kind = container_of(film.destination)
        self._fps = film.rate.of(like.info.fps)
        self._tick = time_base(self._fps, self._kind)
        self._codec: Codec = choose(film.asked, self._kind, film.size, like.info, self._fps / like.info.fps)
        with open_source(film.source)[1] as source:
            carried = what_fits(source, like.info.index, self._kind, str(film.destination))
        self._streams = carried.streams
        self.warnings: tuple[str, ...] = (*self._codec.remarks, *carried.remarks)
        _try_codec(self._codec, self._kind, film.size, self._fps, str(film.destination))
        free = shutil.disk_usage(self._output.parent).free
        seconds = None if like.info.seconds is None else max(like.info.seconds - film.start, 0.0)
        check_room(seconds, self._codec, film.size, self._fps, free, str(film.destination))
        self._parts = Parts(self._output)
        self._parts.begin(self._made_of(), film.resume, film.overwrite)
        if not self._parts.owns_output():
            try:
                check_destination(film.source, film.destination, film.overwrite)
            except VideoError:
                if not self._parts.state.pieces:
                    self._parts.remove()
                raise
        state = self._parts.state
        self.frames, self.scene = state.frames, state.pieces[-1].scene if state.pieces else 0
        self.written = sum(piece.written for piece in state.pieces)
        self._own = 0
        self._done = self.frames, self.scene
        self._waiting: list[tuple[NDArray[Any], Fraction]] = []
        self._piece: OutputContainer | None = None
        self._encoder: Encoder | None = None
        self._even: Even | None = Even(self._fps) if self._kind in EVEN else None
        self._end = float(like.info.start)

    def write(self, frame: NDArray[Any], time: Fraction) -> None:
        """Append one frame, (height, width, 3) uint8 or uint16, shown at a time in seconds; `done` has it encoded.

        Raises:
            InputError: The frame's size is not the film's.
        """
        width, height = self._film.size
        if frame.shape != (height, width, 3):
            raise InputError(
                f"{self._film.destination}: frame {self.written + len(self._waiting)} has shape {frame.shape}, the video needs {(height, width, 3)}"
            )
        self._waiting.append((frame, time))

    def write_audio(self, packets: Iterable[Packet[Stream]]) -> None:
        """Nothing to do: sound is taken from the source when the pieces are joined."""

    def done(self, frames: int, scene: int) -> None:
        """All that is made of so many frames of the source was written: it is encoded, and a piece may end here.

        Args:
            frames: of the source.
            scene: first frame of the scene that is open.

        Raises:
            VideoError: The piece could not be stored.
        """
        waiting, self._waiting = self._waiting, []
        try:
            for frame, time in waiting:
                self._end = float(time)
                for own, place in self._even.put(frame, time) if self._even else ((frame, time),):
                    self._encode(own, place)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(write_error(str(self._film.destination), self.written, error)) from error
        self._done = frames, scene
        if self._own >= FRAMES:
            self._close_piece()

    def close(self) -> None:
        """Join the pieces and give the film its name.

        Raises:
            VideoError: The rest could not be stored; the pieces stay.
        """
        if self._own:
            self._close_piece()
        self._join(None)
        self._parts.remove()

    def keep(self) -> str:
        """After a stop: join what is done into a film that plays; says what is where.

        Returns:
            One line; empty if nothing was done.
        """
        if not self._parts.state.pieces:
            self._parts.remove()
            return ""
        frames = self._parts.state.frames
        try:
            check = self._film.overwrite or self._parts.owns_output() or not self._output.exists()
            if check:
                self._join(self._end)
                return f"{self._film.destination} holds what was made of the first {frames} frames"
        except (VideoError, av.FFmpegError, OSError):
            pass  # no room for it, for one; the pieces are there
        return f"{self._parts.folder} holds what was made of the first {frames} frames"

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None and self._own:
                self._close_piece()  # stopped: what is done so far is whole
        except VideoError:
            pass  # the disk is full, for one
        finally:
            self._drop_piece()

    def _made_of(self) -> Mapping[str, Any]:
        film = self._film
        return {
            "source": [str(film.source.resolve()), *fingerprint_of(film.source)],
            "size": list(film.size),
            "rate": repr(film.rate),
            "codec": [self._codec.name, self._codec.layout, self._codec.bit_rate, dict(self._codec.options)],
            "start": film.start,
            "frames": film.frames,
            "settings": dict(film.what),
        }

    def _encode(self, frame: NDArray[Any], time: Fraction) -> None:
        if self._encoder is None:
            self._piece = av.open(f"file:{self._parts.next_piece()}", "w", format="nut")
            info = self._like.info
            self._encoder = Encoder(
                self._piece,
                self._codec,
                self._film.size,
                self._fps,
                info.colour,
                info.pixel_aspect,
                self._tick,
            )
        assert self._piece is not None
        self._piece.mux(self._encoder.encode(frame, time + AHEAD * self._tick))
        self._own += 1
        self.written += 1

    def _close_piece(self) -> None:
        assert self._piece is not None and self._encoder is not None
        path = self._parts.next_piece()
        try:
            self._piece.mux(self._encoder.flush())
            self._piece.close()
        except (av.FFmpegError, OSError) as error:
            raise VideoError(write_error(str(self._film.destination), self.written, error)) from error
        self._parts.add(Piece(path.name, *self._done, self._own))
        self._piece, self._encoder, self._own = None, None, 0

    def _drop_piece(self) -> None:
        """Let go of a piece that is not whole."""
        if self._piece is not None:
            with suppress(av.FFmpegError, OSError):
                self._piece.close()
            self._parts.next_piece().unlink(missing_ok=True)
        self._piece, self._encoder = None, None

    def _join(self, end: float | None) -> None:
        """Join the whole pieces into the film; up to a time in seconds, all if None."""
        info, film = self._like.info, self._film
        until = end if end is not None else None if film.frames is None else self._end + float(1 / info.fps)
        origin = info.origin + Fraction(film.start).limit_denominator(90_000)
        sound = Sound(film.source, info.index, self._streams, origin, bool(film.start), until)
        temporary = self._parts.folder / f"joined{self._output.suffix}"
        state = self._parts.state
        if not state.pieces:
            raise VideoError(
                f"{film.source}: holds no frames from {film.start:g} s on; choose an earlier --start"
            )
        try:
            count, dropped = join(self._parts.paths(), sound, temporary, self._kind, self._tick, info.colour)
        except (av.FFmpegError, OSError) as error:
            temporary.unlink(missing_ok=True)
            raise VideoError(write_error(str(film.destination), self.written, error)) from error
        if dropped:
            said = f"{film.source}: {dropped} damaged packets of sound or subtitles are left out"
            self.warnings = (*(line for line in self.warnings if line != said), said)
        if count != sum(piece.written for piece in state.pieces):
            raise VideoError(
                f"{film.destination}: the join has {count} pictures of {sum(p.written for p in state.pieces)}; its pieces are in {self._parts.folder}"
            )
        if not self._parts.owns_output():
            check_destination(
                film.source, film.destination, film.overwrite
            )  # it may have come in the meantime
        self._parts.note_joined(temporary)  # killed between here and the end, it is known as ours
        temporary.replace(self._output)


def _try_codec(codec: Codec, container: str, size: tuple[int, int], fps: Fraction, name: str) -> None:
    """Encode one picture in memory: an encoder or container that refuses says so before the first frame.

    Raises:
        InputError: it does.
    """
    try:
        with av.open(io.BytesIO(), "w", format=container) as out:
            encoder = Encoder(out, codec, size, fps, Colour(), None)
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            out.mux([*encoder.encode(picture, Fraction(0)), *encoder.flush()])
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{name}: {container} cannot hold {codec.name} pictures of {size[0]}x{size[1]} with these settings ({error}): "
            "choose another --codec or container"
        ) from error
