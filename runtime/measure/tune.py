"""Finds how a bundle runs best on this machine: library, threads and routes, by quality and time on a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError, InputError
from edgeflow.runtime.measure.worth import DEAREST, Picture, Report, Worth, worth
from edgeflow.runtime.stream.policy import Policy

TIE = 0.02
"""Share of a call's time that a measurement cannot tell apart."""


@dataclass(frozen=True)
class Setting:
    """How a bundle is run.

    Attributes:
        library: engine library.
        threads: CPU threads.
        policy: what decides, by its name in the search.
    """

    library: str
    threads: int
    policy: str


@dataclass(frozen=True)
class Point:
    """What a setting was worth."""

    setting: Setting
    worth: Worth

    @property
    def ms(self) -> float:
        """Median of a call."""
        return self.worth.latency.median_ms

    @property
    def quality(self) -> float:
        """See `Worth.quality`."""
        return self.worth.quality


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        reference: what quality is measured against.
        calls: that each setting made.
        points: every setting that was measured, the fastest first.
        best: of the settings that hold the budget, the one of most quality.
        fast: of those at most `max_drop` below the best quality there is, the fastest.
    """

    reference: str
    calls: int
    points: tuple[Point, ...]
    best: Point
    fast: Point

    @property
    def front(self) -> tuple[Point, ...]:
        """Settings that nothing else beats in both time and quality, the fastest first."""
        return pareto(self.points)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "reference": self.reference,
            "calls": self.calls,
            "best": asdict(self.best.setting),
            "fast": asdict(self.fast.setting),
            "front": [asdict(point.setting) for point in self.front],
            "points": [asdict(point) for point in self.points],
        }


def tune(
    bundle: Bundle,
    frames: Sequence[Picture],
    policies: Mapping[str, Policy],
    settings: Sequence[tuple[str, int]],
    *,
    max_drop: float,
    budget_ms: float | None = None,
    similarity: Callable[[Picture, Picture], float] | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Tuned:
    """Measure all policies by the first setting of library and threads, and those that are worth it by the others.

    Args:
        bundle: to be run.
        frames: of a clip (h, w, 3) uint8, of one size.
        policies: by name.
        settings: library and threads; libraries that cannot run this bundle are left out.
        max_drop: of quality that the fast setting may cost, in its own unit: dB, or a share.
        budget_ms: that 90% of the calls of the best setting take at most; any if None.
        similarity: see `edgeflow.runtime.measure.worth.worth`.
        progress: told what is measured.

    Raises:
        InputError: the clip is too short, no library runs the bundle, or no setting holds the budget.
    """
    points: list[Point] = []
    reports: list[Report] = []
    reasons = []
    wanted = dict(policies)
    for library, threads in settings:
        progress(f"{library}, {in_words(threads)}")
        try:
            report = worth(bundle, frames, wanted, library=library, threads=threads, similarity=similarity)
        except BackendError as error:
            reasons.append(str(error))
            continue
        reports.append(report)
        points += [Point(Setting(library, threads, each.name), each) for each in report.each]
        worthy = {point.setting.policy for point in pareto(points)}
        wanted = {name: policy for name, policy in policies.items() if name in worthy}
    if not points:
        raise InputError(f"no engine library here runs this bundle: {'; '.join(reasons)}")
    ordered = tuple(sorted(points, key=lambda point: point.ms))
    best = _best(ordered, budget_ms)
    return Tuned(reports[0].reference, reports[0].calls, ordered, best, _fast(ordered, max_drop))


def in_words(threads: int) -> str:
    """So many threads."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


def pareto(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points that nothing else beats in both time and quality, the fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda each: (each.ms, -each.quality)):
        if not front or point.quality > front[-1].quality:
            front.append(point)
    return tuple(front)


def _best(points: Sequence[Point], budget_ms: float | None) -> Point:
    holding = [p for p in points if budget_ms is None or p.worth.latency.p90_ms <= budget_ms]
    if not holding:
        least = min(points, key=lambda point: point.worth.latency.p90_ms)
        raise InputError(
            f"no setting holds {budget_ms:g} ms on this machine: the fastest ({least.setting.library}, {in_words(least.setting.threads)}, "
            f"{least.setting.policy}) takes {least.worth.latency.p90_ms:.1f} ms at the 90th percentile; allow more, or use smaller frames"
        )
    most = max(point.quality for point in holding)
    return _quickest([point for point in holding if point.quality == most])


def _fast(points: Sequence[Point], max_drop: float) -> Point:
    most = max(point.quality for point in points)
    near = [point for point in points if point.quality >= most - max_drop]
    return _quickest(near)


def _quickest(points: Sequence[Point]) -> Point:
    """The fastest; of those as fast the one with the fewest threads, and of these the best."""
    least = min(point.ms for point in points)
    alike = [point for point in points if point.ms <= least * (1 + TIE)]
    return min(
        alike, key=lambda point: (point.setting.threads, point.setting.policy == DEAREST, -point.quality)
    )
