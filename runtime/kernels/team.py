"""Threads that share out a loop and sleep between loops."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from weakref import WeakValueDictionary


class Team:
    """The calling thread and some others.

    Turns are handed out one by one, so that a thread whose core is busy with something else (an engine
    library's worker that spins for a while after its last run) takes fewer.

    Args:
        threads: at most, with the caller.
    """

    def __init__(self, threads: int) -> None:
        self._others = threads - 1
        self._pool = ThreadPoolExecutor(self._others, "native-kernel") if self._others else None

    def each(self, turns: int, work: Callable[[int, int], None]) -> None:
        """Call `work(turn, thread)` for every turn; the calls should release the GIL."""
        turn = count()

        def share(thread: int) -> None:
            while (mine := next(turn)) < turns:
                work(mine, thread)

        started = [self._pool.submit(share, i) for i in range(1, self._others + 1)] if self._pool else []
        share(0)
        for other in started:
            other.result()


_TEAMS: WeakValueDictionary[int, Team] = WeakValueDictionary()


def team(threads: int) -> Team:
    """The process's team of that size; its threads end with the last engine that holds it."""
    found = _TEAMS.get(threads)
    if found is None:
        found = _TEAMS[threads] = Team(threads)
    return found
