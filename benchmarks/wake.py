"""How long one thread takes to wake another: on a shared machine it changes, and every parallel operator pays it."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread

ROUNDS = 50


class Echo:
    """A thread that answers; `ping` waits for `ROUNDS` answers, each of which wakes two threads."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._answered: SimpleQueue[None] = SimpleQueue()
        Thread(target=self._answer, daemon=True).start()

    def ping(self, *frame: object) -> None:
        for _ in range(ROUNDS):
            self._asked.put(None)
            self._answered.get()

    def _answer(self) -> None:
        while True:
            self._asked.get()
            self._answered.put(None)
