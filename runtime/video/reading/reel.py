"""A film that is read in passages: forward, it is decoded once, however many these are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeflow.runtime.video.reading.info import VideoInfo
from edgeflow.runtime.video.reading.reader import Reading, Shot, VideoReader


class Reel:
    """Reads passages of a film's frames, with the numbers and times that they have in the whole of it.

    Frames on the way to a passage are decoded, and no more. For a passage that lies before the last one the film is opened again.

    Args:
        path: of the film.
        reading: how it is read.
        held: frames before the one that comes next that are kept, so that a passage may begin there.

    Raises:
        VideoError: the film cannot be read.
    """

    def __init__(self, path: Path, reading: Reading, held: int) -> None:
        self.path, self._reading = path, reading
        self._held: deque[tuple[int, Shot]] = deque(maxlen=max(held, 1))
        self._next = 0
        self._open()

    @property
    def info(self) -> VideoInfo:
        """What the film says of itself."""
        return self._reader.info

    def passage(self, start: int, stop: int | None) -> Passage:
        """The frames from number `start` to the one before `stop`, or to the film's end."""
        return Passage(self, start, stop)

    def shots(self, start: int, stop: int | None) -> Iterator[Shot]:
        """The frames of a passage.

        Raises:
            VideoError: the film cannot be read, or is damaged and reading is strict.
        """
        if start < self._next - len(self._held):
            self.close()
            self._open()
        for number, held in tuple(self._held):
            if number >= start and (stop is None or number < stop):
                yield held
        if start > self._next:
            self._reader.skip(start - self._next)
            self._next = start
            self._held.clear()
        while stop is None or self._next < stop:
            shot = next(self._shots, None)
            if shot is None:
                return
            self._reader.take_audio()
            self._held.append((self._next, shot))
            self._next += 1
            yield shot

    def close(self) -> None:
        """Let go of the film."""
        self._reader.close()

    def _open(self) -> None:
        self._reader = VideoReader(self.path, reading=self._reading)
        self._shots = self._reader.shots()
        self._next = 0
        self._held.clear()


@dataclass(frozen=True)
class Passage:
    """Some neighbouring frames of a reel, which stays open after them."""

    reel: Reel
    start: int
    stop: int | None
    live: bool = False

    @property
    def info(self) -> VideoInfo:
        """What the film says of itself."""
        return self.reel.info

    def shots(self) -> Iterator[Shot]:
        """The frames, with their times."""
        return self.reel.shots(self.start, self.stop)

    def take_audio(self) -> list[Any]:
        """None: sound is taken from the source when the pieces are joined."""
        return []

    def __enter__(self) -> Passage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
