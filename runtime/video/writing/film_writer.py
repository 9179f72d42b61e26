"""Writes a film in pieces, which are joined at the end: whatever stops the making, what is done stays and is gone on with."""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

from collections.abc import Iterable
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.reading.reader import VideoReader
from edgeflow.runtime.video.writing.assembly import Assembly, Filming
from edgeflow.runtime.video.writing.destination import check_destination, place_of
from edgeflow.runtime.video.writing.encoder import EVEN
from edgeflow.runtime.video.writing.piece_file import PieceFile
from edgeflow.runtime.video.writing.pieces import FRAMES, Parts, Piece
from edgeflow.runtime.video.writing.writer import Even, write_error


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
        self._assembly = Assembly(film, like.info)
        self._storing = self._assembly.storing
        self.warnings: tuple[str, ...] = self._assembly.remarks
        self._parts = Parts(self._output)
        self._parts.begin(self._assembly.made_of(), film.resume, film.overwrite)
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
        self._done = self.frames, self.scene
        self._waiting: list[tuple[NDArray[Any], Fraction]] = []
        self._piece: PieceFile | None = None
        self._even: Even | None = Even(self._storing.fps) if self._storing.kind in EVEN else None
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

    @property
    def _own(self) -> int:
        """Pictures in the piece that is open."""
        return self._piece.written if self._piece else 0

    def _encode(self, frame: NDArray[Any], time: Fraction) -> None:
        if self._piece is None:
            self._piece = PieceFile(self._parts.next_piece(), self._storing)
        self._piece.encode(frame, time)
        self.written += 1

    def _close_piece(self) -> None:
        assert self._piece is not None
        path = self._parts.next_piece()
        self._piece.close(self.written - self._own)
        self._parts.add(Piece(path.name, *self._done, self._own))
        self._piece = None

    def _drop_piece(self) -> None:
        """Let go of a piece that is not whole."""
        if self._piece is not None:
            self._piece.drop()
        self._piece = None

    def _join(self, end: float | None) -> None:
        """Join the whole pieces into the film; up to a time in seconds, all if None."""
        film = self._film
        until = (
            end
            if end is not None
            else None
            if film.frames is None
            else self._end + float(1 / self._like.info.fps)
        )
        state = self._parts.state
        if not state.pieces:
            raise VideoError(
                f"{film.source}: holds no frames from {film.start:g} s on; choose an earlier --start"
            )
        temporary = self._parts.folder / f"joined{self._output.suffix}"
        count = sum(piece.written for piece in state.pieces)
        said = self._assembly.join(self._parts.paths(), count, until, temporary)
        self.warnings = tuple(dict.fromkeys((*self.warnings, *said)))
        if not self._parts.owns_output():
            check_destination(
                film.source, film.destination, film.overwrite
            )  # it may have come in the meantime
        self._parts.note_joined(temporary)  # killed between here and the end, it is known as ours
        temporary.replace(self._output)
