"""Many films at a time through one bundle, each as if it were alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from threading import BoundedSemaphore, Lock
from typing import Any

from edgeflow.hosts.film_stream import FilmStream, Picture
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import InputError
from edgeflow.runtime.session import Session
from edgeflow.runtime.video.calls import film_calls
from edgeflow.runtime.video.colour import Frame

_FPS = Fraction(25)


@dataclass(frozen=True)
class Asked:
    """A request of one stream.

    Attributes:
        stream: its number.
        frame: (h, w, 3) uint8.
        time: of the frame in seconds; None to count frames, 25 a second.
        start: whether the stream begins with it.
        end: whether it ends with it.
    """

    stream: int
    frame: Frame
    time: float | None
    start: bool
    end: bool


@dataclass
class _Open:
    """A stream that is open, its own session if it has one, its frames so far and when the last came."""

    film: FilmStream
    session: Session | None
    frames: int = 0
    used: float = 0.0


class _Shared:
    """A session that streams share, of a model that does not look back: there is nothing to forget."""

    looks_back = False

    def __init__(self, session: Session, at_a_time: int) -> None:
        self._session, self._room = session, BoundedSemaphore(at_a_time)
        self.in_flight = session.in_flight

    def run(self, *inputs: Any) -> Any:
        """One call, when there is room for it."""
        with self._room:
            return self._session.run(*inputs)

    def reset(self) -> None:
        """Nothing: no call leaves anything."""


class Streams:
    """The streams that are open.

    A model that does not look back has one session, whose engines all streams share; one that does has a session for each stream that
    is open at a time, which later streams take over.

    Args:
        bundle: what runs.
        times: see `film_calls`.
        fps: see `film_calls`.
        threads: of the engines of a session; all if None.
        at_a_time: calls that may run at a time.
        idle: seconds after which a stream without frames is forgotten.

    Raises:
        InputError: the bundle's task makes no such film.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        times: int | None = None,
        fps: Fraction | None = None,
        threads: int | None = None,
        at_a_time: int = 1,
        idle: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = film_calls(bundle.manifest.task, times, fps)
        self._bundle, self._threads, self._idle, self._clock = bundle, threads, idle, clock
        self._open: dict[int, _Open] = {}
        self._spare: list[Session] = []
        self._lock = Lock()
        first = Session(bundle, threads=threads)
        self._shared: _Shared | None = None
        if first.looks_back:
            self._spare.append(first)
        else:
            first.close()
            self._shared = _Shared(Session(bundle, threads=threads, in_flight=at_a_time), at_a_time)

    def answer(self, asked: Asked) -> list[Picture]:
        """The pictures that can be made with a frame; with a stream's last one all that are left.

        Raises:
            InputError: the stream was not begun, or the frame is none that the model takes.
        """
        with self._lock:
            if asked.start:
                self._close(asked.stream)
                self._open[asked.stream] = self._new()
            stream = self._open.get(asked.stream)
            if stream is None:
                raise InputError(
                    f"stream {asked.stream} was not begun, or had no frame for {self._idle:g} seconds: start it anew"
                )
            stream.used = self._clock()
        when = Fraction(stream.frames) / _FPS if asked.time is None else Fraction(asked.time)
        stream.frames += 1
        made = list(stream.film.push(asked.frame, when))
        if asked.end:
            made += stream.film.finish()
            with self._lock:
                self._close(asked.stream)
        return made

    def forget_idle(self) -> None:
        """Close streams that had no frame for long."""
        with self._lock:
            now = self._clock()
            for number in [n for n, each in self._open.items() if now - each.used > self._idle]:
                self._close(number)

    def _new(self) -> _Open:
        if self._shared is not None:
            return _Open(FilmStream(self._shared, self._calls, _FPS), None)
        session = self._spare.pop() if self._spare else Session(self._bundle, threads=self._threads)
        session.reset()
        return _Open(FilmStream(session, self._calls, _FPS), session)

    def _close(self, number: int) -> None:
        gone = self._open.pop(number, None)
        if gone is not None and gone.session is not None:
            self._spare.append(gone.session)
