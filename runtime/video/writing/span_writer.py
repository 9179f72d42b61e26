"""Writes one span of a film, as one piece."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from numpy.typing import NDArray

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.writing.encoder import EVEN
from edgeflow.runtime.video.writing.piece_file import PieceFile, Storing
from edgeflow.runtime.video.writing.writer import Even, write_error


class SpanWriter:
    """Writes one piece; use it in a with statement, after which it is whole or gone.

    Args:
        path: of the piece.
        storing: how its pictures are stored.

    Attributes:
        warnings: none.
        written: pictures in it.

    Raises:
        VideoError: it cannot be written.
    """

    def __init__(self, path: Path, storing: Storing) -> None:
        self._storing = storing
        self._even = Even(storing.fps) if storing.kind in EVEN else None
        self.warnings: tuple[str, ...] = ()
        self.written = 0
        try:
            self._file = PieceFile(path, storing)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(write_error(storing.name, 0, error)) from error

    def write(self, frame: NDArray[Any], time: Fraction) -> None:
        """Append a picture, (height, width, 3) uint8 or uint16, shown at a time in seconds.

        Raises:
            VideoError: it could not be stored.
        """
        try:
            for own, place in self._even.put(frame, time) if self._even else ((frame, time),):
                self._file.encode(own, place)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(write_error(self._storing.name, self._file.written, error)) from error
        self.written = self._file.written

    def write_audio(self, packets: Iterable[Any]) -> None:
        """Nothing to do: sound is taken from the source when the pieces are joined."""

    def done(self, frames: int, scene: int) -> None:
        """Nothing to do: a span is made whole or not at all."""

    def close(self) -> None:
        """Complete it.

        Raises:
            VideoError: the rest could not be stored.
        """
        self._file.close()

    def __enter__(self) -> SpanWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.drop()
