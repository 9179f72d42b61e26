"""Chooses which calls to fuse, from what engines cost and how often each is run.

Calls that stand together can be cut into stages anywhere. A stage's time is that of its engines,
each run for the regions that take its routes, in the cheapest cover by static batches. Stages do not
influence one another, so the best cuts are a shortest path over the calls: here over pairs of time and
weight bytes, since the weights of all engines must fit the target's memory, and since engines that hold
much take memory and time to load, for which cuts may take a little longer.

Engines are timed only where they could be part of the best plan: until then a fused engine is taken
to cost what its calls cost apart, less all traffic and launches that fusing can save. Once every engine
of the best plan was timed, no other plan is better, unless an engine never timed is faster than its bound.
A machine has slow minutes, which engines that were timed in them must not pay for: so the engines of the best
plan, of the calls apart and of all calls in one are timed again, in turn, until the best plan stays the best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from math import log2, pow
from typing import Any

from edgeflow.export.drafts import StageDraft, Variant, runs, stage
from edgeflow.export.planning.expected_routes import ExpectedRoutes
from edgeflow.ir.errors import ExportError
from edgeflow.ir.program import Call, Program
from edgeflow.ir.route import Assignment
from edgeflow.runtime.stream.batching import cover

HALVING = 1.025
"""Cuts may take this many times as long if with them a process holds half as much."""
HELD_BYTES = 64_000_000
"""What a process holds, about, before it loads an engine."""

Prices = Mapping[int, float]
"""Milliseconds of one run of an engine, per static batch size."""


@dataclass(frozen=True)
class Pricing:
    """What engines cost.

    Attributes:
        exact: prices of a variant's engine; slow where it must be timed first.
        bound: prices that exact ones do not fall below, batch by batch; the choice is optimal if this holds.
            A variant of one call needs a bound too: of several in a stage, all others may be skipped.
        weight_bytes: of the weights that a stage's engines hold.
        again: exact prices, of an engine timed for a second time.
        fuses: whether several calls, though not all, may become this stage.
    """

    exact: Callable[[Variant], Prices]
    bound: Callable[[Variant], Prices]
    weight_bytes: Callable[[StageDraft], int]
    again: Callable[[Variant], Prices]
    fuses: Callable[[StageDraft], bool] = lambda made: True


@dataclass(frozen=True)
class Cuts:
    """One way to cut a run of calls into stages.

    Attributes:
        starts: positions at which its stages start.
        ms: a frame, in the engines.
        weight_bytes: of all engines, as loaded.
    """

    starts: tuple[int, ...]
    ms: float
    weight_bytes: int

    @property
    def price(self) -> float:
        """Time and memory in one number, the less the better."""
        return self.ms * pow(HELD_BYTES + self.weight_bytes, log2(HALVING))


@dataclass(frozen=True)
class Decision:
    """How one run of calls was cut, and what else could have been done.

    Attributes:
        calls: segments of the run.
        chosen: the cuts taken.
        chained: one stage per call.
        routes: one stage in all.
        engines_priced: how many had to be priced exactly.
    """

    calls: tuple[str, ...]
    chosen: Cuts
    chained: Cuts
    routes: Cuts
    engines_priced: int

    def to_json(self, program: Program) -> dict[str, Any]:
        """Plain data for the manifest; stages by the segments they start with."""
        segments = {i: op.segment for i, op in enumerate(program.operations) if isinstance(op, Call)}
        ways = {"chosen": self.chosen, "chained": self.chained, "routes": self.routes}
        return {
            "calls": list(self.calls),
            "stages_start_at": [segments[start] for start in self.chosen.starts],
            "ms": {name: round(way.ms, 3) for name, way in ways.items()},
            "weight_bytes": {name: way.weight_bytes for name, way in ways.items()},
            "engines_priced": self.engines_priced,
        }


def choose(
    program: Program, expected: ExpectedRoutes, pricing: Pricing, budget: int | None = None
) -> tuple[set[int], list[Decision]]:
    """Where stages start, so that the expected runs in the least time by these prices, or a little more with less weights.

    Args:
        program: as traced.
        expected: the routes to expect.
        pricing: what engines cost.
        budget: most bytes of weights that the engines may hold; no limit if None.

    Returns:
        Positions at which stages start, and the decision on every run of two calls or more.

    Raises:
        ExportError: no plan fits the budget.
    """
    starts: set[int] = set()
    decisions = []
    for run in runs(program):
        if len(run) < 2:
            starts.add(run[0])
            continue
        decision = _Run(program, run, expected, pricing).decide(budget)
        starts |= set(decision.chosen.starts)
        decisions.append(decision)
        budget = None if budget is None else budget - decision.chosen.weight_bytes
    return starts, decisions


class _Run:
    """Calls that stand together, and the stages that could be made of them."""

    def __init__(self, program: Program, run: range, expected: ExpectedRoutes, pricing: Pricing) -> None:
        self._run, self._pricing = run, pricing
        drafts = {
            (first, end): stage(program, first, end) for first in run for end in range(first + 1, run[-1] + 2)
        }
        self._stages = {
            place: made
            for place, made in drafts.items()
            if len(made.calls) in (1, len(run)) or pricing.fuses(made)
        }
        regions = self._stages[run[0], run[0] + 1].regions
        self._calls = tuple(
            op.segment for op in program.operations[run.start : run.stop] if isinstance(op, Call)
        )
        self._groups = {
            place: counts(made, [frame[regions] for frame in expected.frames])
            for place, made in self._stages.items()
        }
        self._known: dict[Variant, Prices] = {}
        self._confirmed: set[Variant] = set()

    def decide(self, budget: int | None) -> Decision:
        chained = [(first, first + 1) for first in self._run]
        routes = [(self._run[0], self._run[-1] + 1)]
        self._time(chained)
        while True:
            best = self._best(budget)
            places = self._places(best.starts)
            if (
                not self._time(places)
                and not self._time(routes)
                and not self._confirm(places, chained, routes)
            ):
                break
        return Decision(self._calls, best, self._cuts(chained), self._cuts(routes), len(self._known))

    def _time(self, places: Sequence[tuple[int, int]]) -> bool:
        """Learn the exact prices of the engines that stages run; whether any was new."""
        new = [variant for variant in self._variants(places) if variant not in self._known]
        for variant in new:
            self._known[variant] = self._pricing.exact(variant)
        return bool(new)

    def _confirm(self, *ways: Sequence[tuple[int, int]]) -> bool:
        """Time the engines of several ways for a second time, in turn; whether any was left to."""
        in_turn = chain(*zip_longest(*(self._variants(way) for way in ways)))
        left = [v for v in dict.fromkeys(in_turn) if v is not None and v not in self._confirmed]
        for variant in left:
            self._known[variant] = self._pricing.again(variant)
        self._confirmed |= set(left)
        return bool(left)

    def _variants(self, places: Sequence[tuple[int, int]]) -> list[Variant]:
        """Those that run at all."""
        return [variant for place in places for variant in self._groups[place]]

    def _best(self, budget: int | None) -> Cuts:
        """The cuts of the least price.

        A shortest path over the calls; at each, the ways that none beats in both time and bytes.
        """
        reached: dict[int, list[Cuts]] = {self._run[0]: [Cuts((), 0.0, 0)]}
        for end in range(self._run[0] + 1, self._run[-1] + 2):
            ways = []
            for first in range(self._run[0], end):
                if (first, end) not in self._stages:
                    continue
                ms, weights = self._ms((first, end)), self._bytes((first, end))
                ways += [
                    Cuts((*way.starts, first), way.ms + ms, way.weight_bytes + weights)
                    for way in reached[first]
                    if budget is None or way.weight_bytes + weights <= budget
                ]
            reached[end] = _undominated(ways)
        found = reached[self._run[-1] + 1]
        if not found:
            raise ExportError(
                f"no plan for {self._calls[0]}..{self._calls[-1]} holds its weights in {budget} bytes: "
                "give the target more memory, or export fewer sizes"
            )
        return min(found, key=lambda way: way.price)

    def _cuts(self, places: Sequence[tuple[int, int]]) -> Cuts:
        starts = tuple(first for first, _ in places)
        return Cuts(starts, sum(map(self._ms, places)), sum(map(self._bytes, places)))

    def _places(self, starts: tuple[int, ...]) -> list[tuple[int, int]]:
        return list(zip(starts, (*starts[1:], self._run[-1] + 1), strict=True))

    def _ms(self, place: tuple[int, int]) -> float:
        """Mean time of a stage over the frames."""
        total = 0.0
        for variant, counts in self._groups[place].items():
            prices = self._known.get(variant) or self._pricing.bound(variant)
            total += sum(prices[batch] for count in counts if count for batch in cover(count, prices))
        frames = max((len(counts) for counts in self._groups[place].values()), default=1)
        return total / frames

    def _bytes(self, place: tuple[int, int]) -> int:
        return self._pricing.weight_bytes(self._stages[place])


def counts(made: StageDraft, frames: Sequence[Mapping[Assignment, int]]) -> dict[Variant, list[int]]:
    """Per variant that is run at all, for how many regions of each frame."""
    found = {}
    for variant in made.variants:
        regions = [
            sum(count for route, count in frame.items() if variant.select.holds(dict(route)))
            for frame in frames
        ]
        if any(regions):
            found[variant] = regions
    return found


def _undominated(ways: list[Cuts]) -> list[Cuts]:
    kept: list[Cuts] = []
    for way in sorted(ways, key=lambda way: (way.ms, way.weight_bytes, len(way.starts))):
        if not kept or way.weight_bytes < kept[-1].weight_bytes:
            kept.append(way)
    return kept
