"""Energy over a stretch of time, and what the machine was like meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from time import perf_counter
from types import TracebackType

from edgeflow.runtime.measure.sensors import Reading, read

PERIOD_S = 0.1
"""Between readings: rails tell of a moment."""
SECONDS = 5.0
"""That calls are run for: counters of energy are coarse."""


@dataclass(frozen=True)
class Energy:
    """A stretch of time.

    Attributes:
        seconds: that it took.
        joules: by counter or rail.
        celsius: the most of every zone.
        megahertz: the least of every clock.
        throttled: events in it, by what counts them; only where there were some.
    """

    seconds: float
    joules: Mapping[str, float]
    celsius: Mapping[str, float]
    megahertz: Mapping[str, float]
    throttled: Mapping[str, int]

    @property
    def watts(self) -> dict[str, float]:
        """Mean power, by counter or rail."""
        return {name: joules / self.seconds for name, joules in self.joules.items()}


class Meter:
    """Reads the sensors while a with statement's body runs, in a thread of its own.

    Args:
        sensors: reads them.

    Attributes:
        energy: of the body, once it ended.
    """

    def __init__(self, sensors: Callable[[], Reading] = read) -> None:
        self._sensors = sensors
        self._times: list[float] = []
        self._readings: list[Reading] = []
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="edgeflow energy", daemon=True)
        self.energy = Energy(0.0, {}, {}, {}, {})

    def __enter__(self) -> Meter:
        self._read()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._read()
        self.energy = between(self._times, self._readings)

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self._read()

    def _read(self) -> None:
        self._times.append(perf_counter())
        self._readings.append(self._sensors())


def between(times: list[float], readings: list[Reading]) -> Energy:
    """What readings say of the time from the first to the last.

    Args:
        times: of the readings, seconds, ascending.
        readings: one or more. Counters that began anew in between did so once from one reading to the next; rails hold their power
            until they are read again.
    """
    first, last = readings[0], readings[-1]
    joules = dict.fromkeys((*first.joules, *first.watts), 0.0)
    steps = zip(times, times[1:], readings, readings[1:], strict=False)
    for begin, end, before, after in steps:
        for name in first.joules.keys() & before.joules.keys() & after.joules.keys():
            grown = after.joules[name] - before.joules[name]
            joules[name] += grown if grown >= 0 else grown + before.turns[name]
        for name in first.watts.keys() & before.watts.keys():
            joules[name] += before.watts[name] * (end - begin)
    return Energy(
        times[-1] - times[0],
        joules,
        {name: max(r.celsius.get(name, 0.0) for r in readings) for name in first.celsius},
        {name: min(r.megahertz.get(name, float("inf")) for r in readings) for name in first.megahertz},
        {
            name: more
            for name, count in last.throttled.items()
            if (more := count - first.throttled.get(name, count)) > 0
        },
    )


@dataclass(frozen=True)
class CallEnergy:
    """Energy of calls that follow one another without a pause.

    Attributes:
        calls: how many.
        joules: of one, by counter or rail; what the machine takes for anything else meanwhile is in it.
        energy: of all of them.
    """

    calls: int
    joules: Mapping[str, float]
    energy: Energy


def in_joules(found: CallEnergy) -> str:
    """Energy of a call in a line, and what throttled the machine meanwhile."""
    parts = ", ".join(
        f"{name} {joules:.3g} J ({found.energy.watts[name]:.1f} W)" for name, joules in found.joules.items()
    )
    heat = max(found.energy.celsius.values(), default=None)
    warm = "" if heat is None else f"; {heat:.0f} degrees C at most"
    events = ", ".join(f"{name} {count}" for name, count in found.energy.throttled.items())
    return f"energy of a call, over {found.calls}: {parts}{warm}{f'; throttled: {events}' if events else ''}"


def of_calls(
    run: Callable[..., object], calls: Sequence[Sequence[object]], sensors: Callable[[], Reading] = read
) -> CallEnergy | None:
    """Run calls in turn for some seconds, and find what one takes; None where the machine does not tell.

    Args:
        run: a session's.
        calls: inputs of each.
        sensors: reads the machine's.
    """
    if not sensors().tells_power:
        return None
    done = 0
    with Meter(sensors) as meter:
        start = perf_counter()
        while perf_counter() - start < SECONDS:
            run(*calls[done % len(calls)])
            done += 1
    joules = {name: all_of_them / done for name, all_of_them in meter.energy.joules.items()}
    return CallEnergy(done, joules, meter.energy)
