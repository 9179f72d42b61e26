"""The decoding and encoding threads on both sides of the network.

When a stage fails or the user interrupts, the others let go, both threads are joined, the unfinished
file is removed, and the first error is raised as it was. One thing cannot be interrupted: a read from
a stdin on which nothing arrives. Its thread is left behind after `_PATIENCE_SECONDS` and dies with
the process.
"""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from av.packet import Packet
from av.stream import Stream

from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.overlay import Region, Route, draw_routes
from edgeflow.runtime.video.reader import VideoReader
from edgeflow.runtime.video.writer import VideoWriter

_QUEUE_FRAMES = 4
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class Decoded:
    """A frame and the audio packets met in the source before it."""

    frame: Frame
    audio: list[Packet[Stream]]


@dataclass(frozen=True)
class Finished:
    """A frame to be written `repeat` times, and what to draw on it."""

    frame: Frame
    repeat: int
    audio: list[Packet[Stream]]
    regions: Sequence[Region]
    known: Sequence[Route]


class _Stopped(Exception):
    """Another stage has stopped the line."""


class Pipe(Generic[_T]):
    """A bounded queue whose two ends let go when the line stops. None ends the stream."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._items: queue.Queue[_T | None] = queue.Queue(_QUEUE_FRAMES)

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
    """

    def __init__(self, reader: VideoReader, writer: VideoWriter, overlay: bool) -> None:
        self._reader, self._writer, self._overlay = reader, writer, overlay
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.decoded: Pipe[Decoded] = Pipe(self._stop)
        self.finished: Pipe[Finished] = Pipe(self._stop)
        self.decode_seconds = self.encode_seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run both threads around the block; raise what went wrong in them."""
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
            frames = iter(self._reader)
            while True:
                started = time.perf_counter()
                frame = next(frames, None)
                self.decode_seconds += time.perf_counter() - started
                if frame is None:
                    break
                self.decoded.put(Decoded(frame, self._reader.take_audio()))
        self.decoded.put(None)

    def _encode(self) -> None:
        with self._writer:
            for item in self.finished:
                started = time.perf_counter()
                self._writer.write_audio(item.audio)
                frame = draw_routes(item.frame, item.regions, item.known) if self._overlay else item.frame
                for _ in range(item.repeat):
                    self._writer.write(frame)
                self.encode_seconds += time.perf_counter() - started
            started = time.perf_counter()
            self._writer.write_audio(self._reader.take_audio())
            self._writer.close()
            self.encode_seconds += time.perf_counter() - started
