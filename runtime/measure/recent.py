"""What a stream's latest calls were like: rate, times, routes, memory, power."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from edgeflow.runtime.machine import resident_bytes
from edgeflow.runtime.measure.energy import between
from edgeflow.runtime.measure.sensors import Reading, read
from edgeflow.runtime.stream.trace import Trace

CALLS = 100
"""Latest calls that are looked at."""


@dataclass(frozen=True)
class Now:
    """The latest calls of a stream.

    Attributes:
        calls: that were made in all.
        fps: calls a second, with everything between them.
        ms: every one of the latest, in order.
        median_ms, p95_ms, max_ms: of these.
        engines_ms: mean time in the engine library.
        within: share of the latest that held the budget; None without one.
        gflops: mean work of a call.
        routes: per decision, which share of its regions took which value, the most frequent first.
        resident: bytes that the process holds.
        watts: mean power, by counter or rail, where the machine tells.
        celsius: the hottest zone; None where it does not tell.
    """

    calls: int
    fps: float
    ms: tuple[float, ...]
    median_ms: float
    p95_ms: float
    max_ms: float
    engines_ms: float
    within: float | None
    gflops: float
    routes: Mapping[str, Mapping[str, float]]
    resident: int
    watts: Mapping[str, float]
    celsius: float | None


class Recent:
    """Follows a stream's calls.

    Args:
        budget_ms: that a call may take; None if there is no such budget.
        sensors: reads the machine's.
        clock: says the time, in seconds.
    """

    def __init__(
        self,
        budget_ms: float | None = None,
        sensors: Callable[[], Reading] = read,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._budget, self._sensors, self._clock = budget_ms, sensors, clock
        self._traces: deque[Trace] = deque(maxlen=CALLS)
        self._ends: deque[float] = deque(maxlen=CALLS + 1)
        self._before = clock(), sensors()
        self.calls = 0

    def note(self, trace: Trace) -> None:
        """A call ended."""
        ended = self._clock()
        if not self._ends:
            self._ends.append(ended - trace.total_ms / 1e3)
        self._traces.append(trace)
        self._ends.append(ended)
        self.calls += 1

    def now(self) -> Now | None:
        """What the latest calls were like; None before the first. Power is that since this was last asked."""
        if not self._traces:
            return None
        before, self._before = self._before, (self._clock(), self._sensors())
        energy = between([before[0], self._before[0]], [before[1], self._before[1]])
        ms = np.array([trace.total_ms for trace in self._traces])
        passed = self._ends[-1] - self._ends[0]
        return Now(
            self.calls,
            len(ms) / passed if passed else 0.0,
            tuple(map(float, ms)),
            float(np.median(ms)),
            float(np.percentile(ms, 95)),
            float(ms.max()),
            float(np.mean([trace.engines_ms for trace in self._traces])),
            None if self._budget is None else float((ms <= self._budget).mean()),
            float(np.mean([trace.flops for trace in self._traces])) / 1e9,
            self._routes(),
            resident_bytes(),
            energy.watts if energy.seconds else {},
            max(energy.celsius.values(), default=None),
        )

    def _routes(self) -> dict[str, dict[str, float]]:
        counted: dict[str, Counter[str]] = {}
        for trace in self._traces:
            for name, taken in trace.choices.items():
                counted.setdefault(name, Counter()).update(map(str, taken))
        return {
            name: {value: count / own.total() for value, count in own.most_common()}
            for name, own in counted.items()
        }
