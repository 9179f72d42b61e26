"""Policies: what the runtime makes of the model's own decisions, and rules that replace the model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.program import Route
from edgeflow.ir.route import Axis, Choice, Variable
from edgeflow.ir.rules import HostRule, Rule, Scores
from edgeflow.ir.rules.base import Chosen

if TYPE_CHECKING:
    from edgeflow.ir.plan import Plan
    from edgeflow.runtime.stream.loading import LoadedGraph
    from edgeflow.runtime.stream.trace import Trace


class Steering(Protocol):
    """Decides in a policy's name, in one stream, with what frames took in mind."""

    def begin(self) -> None:
        """A frame begins."""

    def decide(
        self, step: Route, scores: Mapping[str, Scores], own: Mapping[str, Chosen], elapsed: float
    ) -> dict[str, Chosen]:
        """Chosen index per region, (regions,) per variable of a step of the plan.

        Args:
            step: of the plan.
            scores: (regions, values) per variable that is decided by scores; tiles stand row by row, here and below.
            own: what the model's own rules choose, (regions,) per variable.
            elapsed: milliseconds since the frame began.
        """

    def ended(self, trace: Trace) -> None:
        """A frame is done."""


class Policy(Protocol):
    """Turns the model's decision for every region into the one that is taken.

    Attributes:
        remembers: it looks at earlier frames, so that frames run one after the other.
    """

    remembers: ClassVar[bool] = False

    def rule(self, variable: Variable, own: Rule) -> Rule:
        """The rule by which a variable is decided: the model's own unless a policy replaces it."""
        return own

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Refuse what these axes do not offer."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """Chosen index per region: (regions,), from the model's own; tiles stand row by row."""

    def steering(
        self, plan: Plan, loaded: Mapping[str, LoadedGraph], counts: Mapping[str, int], read: frozenset[str]
    ) -> Steering | None:
        """What decides by scores in one stream before `choose` has its say; None if the rules do.

        Args:
            plan: that is executed.
            loaded: its graphs, with what runs of them cost.
            counts: regions of each region set.
            read: values that decisions read.

        Raises:
            InputError: the model cannot do what the policy asks for.
        """
        return None


class Own(Policy):
    """The model's own decision."""

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Nothing to refuse."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The model's own decision."""
        return own


class Fixed(Policy):
    """The same value for every region, for the axes named; the model decides the others.

    A value for an axis is for every decision over it; `Fixed(**{"stride.3": 2})` is for its fourth alone, which comes first.

    >>> Fixed(exit=3).choose(Variable("exit", Axis(1, 2, 3)), np.array([0, 1]))
    array([2, 2])
    """

    def __init__(self, **values: Choice) -> None:
        self._values = values

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Refuse an axis or a value that does not exist.

        Raises:
            InputError: the model has no such axis.
            FlowError: the axis has no such value.
        """
        _check_values(self._values, axes)

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The fixed value's index, or the model's own decision."""
        value = given(self._values, variable)
        return own if value is None else np.full_like(own, variable.axis.index(value))


class Rules(Policy):
    """Other rules for some axes, the model's own for the others: rules per frame for rules per frame, rules of scores for such.

    Args:
        rules: by axis.

    >>> from edgeflow.ir.rules import KeyFrameInterval
    >>> Rules(mode=KeyFrameInterval(5)).rule(Variable("mode", Axis("key", "shortcut")), KeyFrameInterval(3))
    KeyFrameInterval(interval=5)
    """

    def __init__(self, **rules: Rule) -> None:
        self._rules = rules

    def rule(self, variable: Variable, own: Rule) -> Rule:
        """The rule given for the variable's axis, or the model's own.

        Raises:
            InputError: one rule decides per frame and the other by scores.
        """
        rule = given(self._rules, variable) or own
        if isinstance(rule, HostRule) != isinstance(own, HostRule):
            ways = {True: "per frame", False: "of scores"}
            raise InputError(
                f"{variable.axis_name} is decided by {own.kind}, a rule {ways[isinstance(own, HostRule)]}: "
                f"{rule.kind} is a rule {ways[isinstance(rule, HostRule)]} and cannot take its place"
            )
        return rule

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Refuse an axis that does not exist, or one of more values than the rule takes.

        Raises:
            InputError: the model has no such axis, or the rule is not for it.
        """
        own = _nameable(axes)
        for name, rule in self._rules.items():
            if name not in own:
                raise InputError(f"no axis {name!r} to rule: the bundle has {', '.join(own) or 'none'}")
            try:
                rule.check_axis(own[name])
            except FlowError as error:
                raise InputError(f"axis {name}: {error}") from error

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """What the rule said."""
        return own


class Quality(Policy):
    """The model's own rules, where quality counts more, or less, against time than the model says.

    Args:
        quality: from 0, as little time as there can be, to 1, whatever it takes; a half is the model as it is.

    Raises:
        InputError: another number.
    """

    def __init__(self, quality: float) -> None:
        if not 0 <= quality <= 1:
            raise InputError(f"quality goes from 0 to 1, got {quality:g}")
        self._quality = quality

    def rule(self, variable: Variable, own: Rule) -> Rule:
        """The model's rule at that quality; one that does not weigh it stays."""
        return own.at(self._quality)

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Nothing to refuse."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """What the rule said."""
        return own


class Mix(Policy):
    """Fixed shares of the regions take fixed routes, whatever the frame shows.

    For measurements: which regions take which route depends only on how many regions there are,
    so it is the same at every frame. The regions of a route are scattered over the frame, and
    shares become whole regions by the largest remainder. The model decides axes that a route
    does not name.

    Args:
        routes: (share, values by axis); shares are positive and sum to 1.

    Raises:
        InputError: shares that are not positive or do not sum to 1.

    >>> mix = Mix([(0.75, {"exit": 1}), (0.25, {"exit": 3})])
    >>> mix.choose(Variable("exit", Axis(1, 2, 3)), np.zeros(4, np.intp))
    array([0, 0, 0, 2])
    """

    def __init__(self, routes: Sequence[tuple[float, Mapping[str, Choice]]]) -> None:
        self._shares = np.array([share for share, _ in routes])
        self._routes = [dict(values) for _, values in routes]
        if not (self._shares > 0).all() or not isclose(self._shares.sum(), 1, abs_tol=1e-6):
            given = ", ".join(f"{share:g}" for share in self._shares) or "none"
            raise InputError(f"shares of a mix are positive and sum to 1, got {given}")

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Refuse an axis or a value that does not exist.

        Raises:
            InputError: the model has no such axis.
            FlowError: the axis has no such value.
        """
        for values in self._routes:
            _check_values(values, axes)

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The index that each region's route has; the model's own where that route names none."""
        chosen = own.copy()
        taken = _scattered(_whole(self._shares, len(own)))
        for number, values in enumerate(self._routes):
            value = given(values, variable)
            if value is not None:
                chosen[taken == number] = variable.axis.index(value)
        return chosen


_T = TypeVar("_T")


def given(values: Mapping[str, _T], variable: Variable) -> _T | None:
    """What is given for a variable: by its own name (`stride.3`), or by its axis's for all decisions over it (`stride`)."""
    return values.get(variable.name, values.get(variable.axis_name))


def _nameable(axes: Mapping[str, Axis]) -> dict[str, Axis]:
    """Axes by the names that values may be given for: the axes' own, and those of single decisions over them."""
    return {name.split(".")[0]: axis for name, axis in axes.items()} | dict(axes)


def _check_values(values: Mapping[str, Choice], axes: Mapping[str, Axis]) -> None:
    own = _nameable(axes)
    for name, value in values.items():
        if name not in own:
            raise InputError(f"no axis {name!r} to fix: the bundle has {', '.join(own) or 'none'}")
        own[name].index(value)


def _whole(shares: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """How many of `count` regions each share gets, by the largest remainder."""
    wanted = shares * count
    counts = np.floor(wanted + 1e-9).astype(np.intp)
    largest = np.argsort(counts - wanted, kind="stable")
    counts[largest[: count - counts.sum()]] += 1
    return counts


def _scattered(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which share each region belongs to.

    Multiples of the golden ratio fill the unit interval evenly from the first one on, so each
    share's regions are spread over the whole frame.
    """
    golden = (5**0.5 - 1) / 2
    places = np.argsort(np.argsort(np.arange(counts.sum()) * golden % 1))
    return np.repeat(np.arange(len(counts)), counts)[places]
