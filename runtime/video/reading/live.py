"""Follows a live source: who is slower than it gets the newest picture, and what came in between is dropped and counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")
_POLL_SECONDS = 0.05


class Newest(Generic[_T]):
    """Iterates over the newest of what a source gives, which is read in a thread of its own as fast as it comes.

    Args:
        source: what is read.

    Attributes:
        dropped: items that nobody took before a newer one came.
    """

    def __init__(self, source: Iterator[_T]) -> None:
        self._source = source
        self._ready = threading.Condition()
        self._held: list[_T] = []
        self._error: BaseException | None = None
        self._ended = self._left = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._read, name="edgeflow live", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[_T]:
        """The newest item, each time one is asked for; what the source raises, after what it gave before."""
        while True:
            with self._ready:
                while not (self._held or self._ended):
                    self._ready.wait(_POLL_SECONDS)
                if not self._held:
                    break
                item = self._held.pop()
            yield item
        if self._error is not None:
            raise self._error

    def leave(self, patience: float) -> bool:
        """Read no more; whether the thread let go of the source within so many seconds."""
        self._left = True
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _read(self) -> None:
        try:
            for item in self._source:
                with self._ready:
                    self.dropped += len(self._held)
                    self._held[:] = [item]
                    self._ready.notify()
                if self._left:
                    break
        except BaseException as error:
            self._error = error
        finally:
            with self._ready:
                self._ended = True
                self._ready.notify()
