"""The decoding and encoding threads on both sides of the network.

When a stage fails or the user interrupts, the others let go, both threads are joined, the writer
keeps what is whole of its film, and the first error is raised as it was. One thing cannot be interrupted: a read from
a stdin on which nothing arrives. Its thread is left behind after `_PATIENCE_SECONDS` and dies with
the process.
"""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.overlay import Region, draw_routes
from edgeflow.runtime.video.reading.info import VideoInfo
from edgeflow.runtime.video.reading.reader import Shot

_QUEUE_FRAMES = 4
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class Decoded:
    """A frame with its time, and the audio packets met in the source before it."""

    frame: Frame
    time: Fraction
    audio: list[Packet[Stream]]
    deep: NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class Finished:
    """A frame to be written for each of some times, and what to draw on it.

    Attributes:
        frame: as it was made; `deep` at 16 bits, if it is the source's own.
        times: seconds.
        audio: packets to be written before it.
        regions: with their routes, to be drawn.
        known: routes so far, and their work.
        done: (frames of the source that are done with this, first frame of their scene); None in the middle of one.
    """

    frame: Frame
    times: Sequence[Fraction]
    audio: list[Packet[Stream]]
    regions: Sequence[Region]
    known: Mapping[str, int]
    deep: NDArray[np.uint16] | None = None
    done: tuple[int, int] | None = None


class Reader(Protocol):
    """What gives frames: a `VideoReader`, or a passage of a `Reel`."""

    @property
    def info(self) -> VideoInfo:
        """What the film says of itself."""

    @property
    def live(self) -> bool:
        """Whether it goes on whether it is read or not."""

    def shots(self) -> Iterator[Shot]:
        """Frames with their times."""

    def take_audio(self) -> list[Packet[Stream]]:
        """Sound met since the last call."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Writer(Protocol):
    """What takes finished frames: a `VideoWriter` or a `FilmWriter`."""

    warnings: tuple[str, ...]
    written: int

    def write(self, frame: NDArray[Any], time: Fraction) -> None:
        """Append a frame."""

    def write_audio(self, packets: Iterable[Packet[Stream]]) -> None:
        """Append sound."""

    def done(self, frames: int, scene: int) -> None:
        """So many frames of the source are done."""

    def close(self) -> None:
        """Complete the film."""

    def __enter__(self) -> Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Stopped(Exception):
    """Another stage has stopped the line."""


class Pipe(Generic[_T]):
    """A bounded queue whose two ends let go when the line stops. None ends the stream."""

    def __init__(self, stopped: threading.Event, most: int = _QUEUE_FRAMES) -> None:
        self._stopped = stopped
        self._items: queue.Queue[_T | None] = queue.Queue(most)

    def put(self, item: _T | None) -> None:
        """Wait for room and append an item."""
        while not self._stopped.is_set():
            try:
                return self._items.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[_T]:
        while not self._stopped.is_set():
            try:
                item = self._items.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item
        raise _Stopped


class Stages:
    """The decoding and encoding threads and the pipes to and from them.

    Each thread closes the file it works on: nobody else could know that it is out of use.

    Attributes:
        decoded: What the decoder gives.
        finished: What the encoder takes.
        decode_seconds: Time spent decoding so far.
        encode_seconds: Time spent drawing and encoding so far.
        fps: Frames per second of the source.
    """

    def __init__(self, reader: Reader, writer: Writer, overlay: bool) -> None:
        self._reader, self._writer, self._overlay = reader, writer, overlay
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.decoded: Pipe[Decoded] = Pipe(self._stop, 1 if reader.live else _QUEUE_FRAMES)
        self.finished: Pipe[Finished] = Pipe(self._stop)
        self.decode_seconds = self.encode_seconds = 0.0
        self.fps = reader.info.fps

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run both threads around the block; raise what went wrong in them.

        An interrupt ends a live source, which has no other end: what was made of it is written, and nothing is raised.
        """
        threads = [
            threading.Thread(target=self._guard, args=(stage,), name=f"edgeflow {name}", daemon=True)
            for name, stage in (("decode", self._decode), ("encode", self._encode))
        ]
        try:
            for thread in threads:
                thread.start()
            yield
            for thread in threads:
                thread.join()
        except _Stopped:
            pass  # the stage that stopped the line left its error
        except KeyboardInterrupt:
            if not self._reader.live:
                raise
            with suppress(_Stopped):
                self.finished.put(None)
            threads[1].join()
        finally:
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_PATIENCE_SECONDS)
        if self._error is not None:
            raise self._error

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except _Stopped:
            pass
        except BaseException as error:
            self._error = self._error or error
            self._stop.set()

    def _decode(self) -> None:
        with self._reader:
            shots = self._reader.shots()
            while True:
                started = time.perf_counter()
                shot = next(shots, None)
                self.decode_seconds += time.perf_counter() - started
                if shot is None:
                    break
                self.decoded.put(Decoded(shot.pixels, shot.time, self._reader.take_audio(), shot.deep))
        self.decoded.put(None)

    def _encode(self) -> None:
        with self._writer:
            for item in self.finished:
                started = time.perf_counter()
                self._writer.write_audio(item.audio)
                frame = item.frame if item.deep is None else item.deep
                if self._overlay:
                    frame = draw_routes(item.frame, item.regions, item.known)
                for at in item.times:
                    self._writer.write(frame, at)
                if item.done is not None:
                    self._writer.done(*item.done)
                self.encode_seconds += time.perf_counter() - started
            started = time.perf_counter()
            self._writer.write_audio(self._reader.take_audio())
            self._writer.close()
            self.encode_seconds += time.perf_counter() - started
