"""A policy that holds a deadline: in every region the best of score - price x measured cost, at the least price that fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import inf, prod, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Plan
from edgeflow.ir.program import Decision, Route
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules import Rule, ScoreRule, Scores
from edgeflow.ir.rules.base import Chosen, Worth
from edgeflow.runtime.stream.deadline import Deadline
from edgeflow.runtime.stream.frame_costs import LEARNING, FrameCosts
from edgeflow.runtime.stream.loading import LoadedGraph
from edgeflow.runtime.stream.policy import Policy, Steering
from edgeflow.runtime.stream.trace import Trace

Costs: TypeAlias = NDArray[np.float64]
"""Milliseconds of a frame: (regions, routes), or (1, routes) where they are the same for all."""

Group: TypeAlias = tuple[Decision, ...]
"""Decisions that are made together."""

MOST_TOGETHER = 256
"""Routes of one step that are compared with one another."""
CHEAPEST, DEAREST, STRIDE = 1e-9, 1e12, 4.0
"""Prices of a millisecond, in units of scores: below the first time costs nothing, at the second nothing else counts."""


class Budget(Policy):
    """The model's own routes as long as frames hold a deadline with them; cheaper ones, where they cost least quality, when they do not.

    A call's deadline is for all that `Session.run` does, not for reading and writing a film. Frames run one after the other.

    Args:
        milliseconds: that a call may take.
        percentile: of the calls that shall hold it, in percent.

    Raises:
        InputError: no time, or no percentile.
    """

    remembers = True

    def __init__(self, milliseconds: float, percentile: float = 95.0) -> None:
        Deadline(milliseconds, percentile)
        self.milliseconds, self.percentile = milliseconds, percentile

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Nothing to refuse before the rules are known."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """What was decided with the deadline in mind."""
        return own

    def steering(
        self, plan: Plan, loaded: Mapping[str, LoadedGraph], counts: Mapping[str, int], read: frozenset[str]
    ) -> Steering:
        """What decides in one stream, see `Policy.steering`.

        Raises:
            InputError: no decision compares its values, or no route holds the deadline.
        """
        costs = FrameCosts(plan, loaded, counts, read)
        if not any(compares(decision.rule) for step in costs.routing.values() for decision in step.decisions):
            raise InputError(
                "a budget weighs scores against time, and no decision of this model has scores: fix its routes, or decide its "
                "axes by other rules"
            )
        least = FrameCosts(plan, _certain(loaded), counts, read).frame({})
        if least > self.milliseconds:
            route = " ".join(f"{name}={value}" for name, value in costs.cheapest.items())
            raise InputError(
                f"no route holds {self.milliseconds:g} ms on this machine: the cheapest ({route}) takes {least:.1f} ms at least; allow "
                "more, or use smaller frames or a smaller preset"
            )
        return BudgetSteering(costs, Deadline(self.milliseconds, self.percentile))


class BudgetSteering(Steering):
    """Steers the decisions of one stream.

    Every decision is made at the least price of a millisecond at which the rest of the frame is expected to fit what is left of its
    time, if everything that is decided later goes the cheapest way. Where more decisions follow, their share is kept for
    them: the price is at least what would have made the last frame fit if all its decisions had known it.

    Args:
        costs: of the plan's frames.
        deadline: to be held.

    Attributes:
        routes: of the last frame, (regions,) per variable.
    """

    def __init__(self, costs: FrameCosts, deadline: Deadline) -> None:
        self.costs, self.deadline = costs, deadline
        self._groups = {
            number: _groups([d for d in step.decisions if compares(d.rule)])
            for number, step in costs.routing.items()
        }
        self._last = max(number for number, groups in self._groups.items() if groups)
        self.routes: dict[str, Chosen] = {}
        self._seen: dict[str, _Choices] = {}
        self._price = self._lasting = 0.0
        self._elapsed: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._run: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """See `Steering.begin`."""
        self.routes, self._seen = {}, {}

    def decide(
        self, step: Route, scores: Mapping[str, Scores], own: Mapping[str, Chosen], elapsed: float
    ) -> dict[str, Chosen]:
        """See `Steering.decide`."""
        number = next(number for number, known in self.costs.routing.items() if known is step)
        steered = {d.variable.name for group in self._groups[number] for d in group}
        self.routes.update((name, chosen) for name, chosen in own.items() if name not in steered)
        self._elapsed[number] = elapsed
        left = self.deadline.left(elapsed, elapsed / self._before.get(number, inf))
        for group in self._groups[number]:
            names = [d.variable.name for d in group]
            charged = self._charged(group, step, number)
            choices = _Choices(group, [scores[n] for n in names], [own[n] for n in names], charged)
            self._price = self._fitting(choices, number, left)
            last = number == self._last and group is self._groups[number][-1]
            self.routes.update(choices.at(self._price if last else max(self._price, self._lasting)))
            self._seen[names[0]] = choices
        return {name: self.routes[name] for name in own}

    def ended(self, trace: Trace) -> None:
        """See `Steering.ended`. A frame whose engines ran at some batch size for the first time says nothing of the next."""
        runs = {(engine.key, batch) for engine in trace.engines for batch in engine.batches}
        if runs <= self._run:
            self.costs.settle(trace)
            factor = self.deadline.observe(self.costs.frame(self.routes), trace.total_ms)
            self.costs.observe(trace, factor)
            for number, elapsed in self._elapsed.items():
                known = self._before.get(number, elapsed / factor)
                self._before[number] = known + LEARNING * (elapsed / factor - known)
        self._run |= runs
        if len(self._seen) > 1:
            self._lasting = least_price(self._would_have_fitted, self._lasting)

    def _would_have_fitted(self, price: float) -> bool:
        """Whether the last frame is expected to fit with all decisions made at one price."""
        routes = dict(self.routes)
        for choices in self._seen.values():
            routes |= choices.at(price)
        return self.costs.frame(routes) <= self.deadline.left()

    def _fitting(self, choices: _Choices, number: int, left: float) -> float:
        """The least price at which a frame fits from a step on, if what follows goes the cheapest way."""

        def fits(price: float) -> bool:
            return self.costs.frame({**self.routes, **choices.at(price)}, number) <= left

        return least_price(fits, self._price)

    def _charged(self, group: Group, step: Route, number: int) -> Costs:
        """Milliseconds that every route of a group adds to a frame whose regions all take it: (regions, routes) or (1, routes).

        The larger of two: after what was decided already, and after what is cheapest, since a decision about tiles costs
        nothing on a frame that is computed whole, which must not stay so.
        """
        count = self.costs.counts[step.regions]
        routes = _routes(group)
        names = [d.variable.name for d in group]

        def added(known: Mapping[str, int]) -> Costs:
            ms = [
                self.costs.region(step.regions, {**known, **dict(zip(names, route, strict=True))}, number)
                for route in routes.tolist()
            ]
            return count * (np.array(ms) - min(ms))

        known = {name: chosen for name, chosen in self.routes.items() if name not in names}
        tuples = list(
            zip(*(c.tolist() if len(c) == count else c.tolist() * count for c in known.values()), strict=True)
        )
        found = {each: added(dict(zip(known, each, strict=True))) for each in set(tuples)}
        usual = added({})
        return np.array([np.maximum(found[each], usual) for each in tuples]) if tuples else usual[None]


@dataclass(frozen=True)
class _Choices:
    """What decisions of one step are to choose from.

    Attributes:
        group: the decisions.
        scores: of each, (regions, values).
        own: what the model itself chooses, (regions,) of each.
        costs: milliseconds of a frame, (regions, routes) or (1, routes).
    """

    group: Group
    scores: Sequence[Scores]
    own: Sequence[Chosen]
    costs: Costs

    def at(self, price: float) -> dict[str, Chosen]:
        """What every region takes at a price of a millisecond; what the model itself chooses where time costs nothing."""
        names = [d.variable.name for d in self.group]
        if not price:
            return dict(zip(names, self.own, strict=True))
        best = np.argmax(self._worth(price * self.costs), axis=1)
        return dict(zip(names, _routes(self.group)[best].T, strict=True))

    def _worth(self, charges: Costs) -> Worth:
        """What every route is worth: (regions, routes). Rules may charge for one decision as suits them; of several, worths add up."""
        charged = charges if len(self.group) == 1 else np.zeros(1)
        worths = [
            _rule(d).worth(scores, d.variable.axis, charged)
            for d, scores in zip(self.group, self.scores, strict=True)
        ]
        if len(self.group) == 1:
            return worths[0]
        routes = _routes(self.group)
        total: Worth = sum((w[:, routes[:, i]] for i, w in enumerate(worths)), -charges)
        return total


def _certain(loaded: Mapping[str, LoadedGraph]) -> dict[str, LoadedGraph]:
    """Graphs at no cost but where it was measured, and at one shape: what follows the frame's size may have been measured at another."""
    return {
        key: graph
        if graph.measured and all(isinstance(d, int) for port in graph.graph.inputs for d in port.shape)
        else replace(graph, costs=dict.fromkeys(graph.costs, 0.0))
        for key, graph in loaded.items()
    }


def least_price(fits: Callable[[float], bool], near: float) -> float:
    """The least price that fits, to within a fifth; 0 if that does, `DEAREST` if none does.

    Args:
        fits: whether a price does: once one does, dearer ones do.
        near: where to begin.
    """
    if fits(0.0):
        return 0.0
    price = max(near, CHEAPEST)
    while price < DEAREST and not fits(price):
        price = min(price * STRIDE, DEAREST)
    while price > CHEAPEST and fits(price / STRIDE):
        price /= STRIDE
    return _between(fits, price / STRIDE, price)


def _between(fits: Callable[[float], bool], low: float, high: float) -> float:
    """Halves the ratio of a price that does not fit to one that does, three times."""
    for _ in range(3):
        middle = sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _groups(decisions: Sequence[Decision]) -> list[Group]:
    """Decisions of a step that are made together: all of them, unless their routes are too many."""
    if not decisions or prod(len(d.variable.axis.values) for d in decisions) <= MOST_TOGETHER:
        return [tuple(decisions)] if decisions else []
    return [(decision,) for decision in decisions]


@cache
def _routes(group: Group) -> NDArray[np.intp]:
    """Positions on the axes of a group's decisions: (routes, decisions)."""
    return np.array(list(product(*(range(len(d.variable.axis.values)) for d in group))), np.intp)


def compares(rule: Rule) -> bool:
    """Whether a rule says what its values are worth."""
    return isinstance(rule, ScoreRule) and rule.compares


def _rule(decision: Decision) -> ScoreRule:
    assert isinstance(decision.rule, ScoreRule)
    return decision.rule
