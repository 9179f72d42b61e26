"""Timing of several runs of the same frames, in turn, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any, Generic, TypeVar

import numpy as np

Made, Kept = TypeVar("Made"), TypeVar("Kept")


@dataclass(frozen=True)
class Timed(Generic[Kept]):
    """Per frame: time of the call in ms (the median of its rounds), and what is kept of what it returned."""

    ms: list[float]
    kept: list[Kept]

    @property
    def median(self) -> float:
        """The times, in ms."""
        return float(np.median(self.ms))


def interleaved(
    runs: Mapping[str, Callable[..., Made]],
    calls: Sequence[Sequence[Any]],
    warm: int,
    keep: Callable[[Made], Kept],
    pause: float = 0.0,
    rounds: int = 1,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Timed[Kept]]:
    """Call every run with every call's inputs; the first `warm` calls do not count.

    Args:
        runs: by name.
        calls: inputs of each, in order.
        warm: calls that are run but do not count.
        keep: what to keep of what a call returned. Pictures had better go: if they stay, every frame
            is written to memory that the system must find and clear first.
        pause: seconds before every call, so that threads of the last one that still spin are asleep.
        rounds: how often all are run with a call's inputs, in turn; more than one where single calls
            are looked at, which on a shared machine now and then take twice their time.
        clock: in seconds; `time.process_time` leaves out what others do on the machine, and says the truth
            of runs on one thread alone.
    """
    timed: dict[str, Timed[Kept]] = {name: Timed([], []) for name in runs}
    for number, call in enumerate(calls):
        if number < warm:
            for run in runs.values():
                run(*call)
            continue
        ms: dict[str, list[float]] = {name: [] for name in runs}
        for again in range(rounds):
            for name, run in runs.items():
                sleep(pause)
                start = clock()
                made = run(*call)
                ms[name].append((clock() - start) * 1e3)
                if again == 0:
                    timed[name].kept.append(keep(made))
                del made
        for name, own in timed.items():
            own.ms.append(float(np.median(ms[name])))
    return timed
