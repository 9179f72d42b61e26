"""What an export's time goes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Seconds of every part; one that runs inside another counts as its own alone.

    Attributes:
        seconds: by part, in the order they began.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's time as this part's."""
        self._charge()
        self._open.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def rounded(self) -> dict[str, float]:
        """Seconds of every part until now, to a hundredth."""
        self._charge()
        return {name: round(seconds, 2) for name, seconds in self.seconds.items()}

    def _charge(self) -> None:
        """Give the time since the last change to the innermost part."""
        now = perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
