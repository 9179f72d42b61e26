"""Axes of choice, and the conditions a program states over chosen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError

Choice: TypeAlias = bool | int | float | str
"""One value of an axis."""


@dataclass(frozen=True)
class Axis:
    """A named, finite dimension of choice, such as `scale (1, 2, 4)`.

    The order of the values is the order of the logits that decide between them.
    """

    values: tuple[Choice, ...]

    def __init__(self, *values: Choice) -> None:
        if len(set(values)) != len(values) or not values:
            raise FlowError(f"an axis needs distinct values, got {values!r}: list each choice once")
        object.__setattr__(self, "values", tuple(values))

    def index(self, value: Choice) -> int:
        """Position of `value`.

        Raises:
            FlowError: the axis has no such value.
        """
        for position, own in enumerate(self.values):
            if own == value and isinstance(own, bool) == isinstance(value, bool):
                return position
        raise FlowError(f"{value!r} is not a value of the axis {self.values!r}: use one of these")


@dataclass(frozen=True)
class Variable:
    """One decision of a program: which axis, under which name.

    A flow that routes once over `exit` has the variable `exit`; one that routes again has
    `exit.1`, `exit.2` and so on.
    """

    name: str
    axis: Axis

    @property
    def axis_name(self) -> str:
        """The axis as its model calls it: of `exit.1`, `exit`."""
        return self.name.split(".")[0]


Routes: TypeAlias = Mapping[str, NDArray[np.intp]]
"""Per variable, the chosen index of every region: shape (regions,)."""

Assignment: TypeAlias = tuple[tuple[str, Choice], ...]
"""Values of some variables, sorted by variable name. A variant is one of these."""


@dataclass(frozen=True)
class Condition:
    """A boolean expression over decision variables, as data.

    `op` is one of `true`, `false`, `in`, `and`, `or`, `not`. An `in` holds where the
    variable's value is one of `values`; comparisons are written as the values that pass.
    """

    op: str
    variable: str = ""
    values: tuple[Choice, ...] = ()
    terms: tuple[Condition, ...] = ()

    def __and__(self, other: Condition | bool) -> Condition:
        if not isinstance(other, Condition | bool):
            return NotImplemented  # a decision knows its condition
        other = as_condition(other)
        if "false" in (self.op, other.op):
            return NEVER
        if self.op == "true":
            return other
        return self if other.op == "true" else _joined("and", self, other)

    __rand__ = __and__

    def __or__(self, other: Condition | bool) -> Condition:
        if not isinstance(other, Condition | bool):
            return NotImplemented  # a decision knows its condition
        other = as_condition(other)
        if "true" in (self.op, other.op):
            return ALWAYS
        if self.op == "false":
            return other
        return self if other.op == "false" else _joined("or", self, other)

    __ror__ = __or__

    def __invert__(self) -> Condition:
        if self.op in ("true", "false"):
            return NEVER if self.op == "true" else ALWAYS
        return Condition("not", terms=(self,))

    def __bool__(self) -> bool:
        raise FlowError(
            f"the condition {self} has no single truth value: pass it as when=, do not branch on it in Python"
        )

    def __str__(self) -> str:
        if self.op == "in":
            values = self.values
            return f"{self.variable}={values[0]}" if len(values) == 1 else f"{self.variable} in {values}"
        if self.op == "not":
            return f"not ({self.terms[0]})"
        return f" {self.op} ".join(map(self._inside, self.terms)) if self.terms else self.op

    def _inside(self, term: Condition) -> str:
        """A term as it is written in this condition: "and" binds before "or"."""
        loose = term.op == "or" and len(term.terms) > 1 and self.op == "and"
        return f"({term})" if loose else str(term)

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables it reads."""
        own = frozenset({self.variable}) if self.op == "in" else frozenset()
        return own.union(*(term.variables for term in self.terms))

    def holds(self, values: Mapping[str, Choice]) -> bool:
        """Truth under `values`, which must name every variable it reads."""
        if self.op == "in":
            return values[self.variable] in self.values
        results = [term.holds(values) for term in self.terms]
        if self.op in ("true", "false"):
            return self.op == "true"
        if self.op == "not":
            return not results[0]
        return all(results) if self.op == "and" else any(results)

    def mask(self, routes: Routes, axes: Mapping[str, Axis], regions: int) -> NDArray[np.bool_]:
        """Truth per region: (regions,) bool."""
        if self.op == "in":
            axis, chosen = axes[self.variable], routes[self.variable]
            equal = [chosen == axis.index(value) for value in self.values]
            return np.broadcast_to(reduce(np.logical_or, equal, np.False_), (regions,))
        if self.op in ("true", "false"):
            return np.full(regions, self.op == "true")
        masks = [term.mask(routes, axes, regions) for term in self.terms]
        if self.op == "not":
            return ~masks[0]
        join = np.logical_and if self.op == "and" else np.logical_or
        return reduce(join, masks)

    def to_json(self) -> list[object]:
        """Nested lists, read back by `from_json`."""
        if self.op == "in":
            return ["in", self.variable, list(self.values)]
        return [self.op, *(term.to_json() for term in self.terms)]

    @staticmethod
    def from_json(data: Sequence[object]) -> Condition:
        """Inverse of `to_json`."""
        op = str(data[0])
        if op == "in":
            values: Sequence[Choice] = data[2]  # type: ignore[assignment]
            return Condition("in", variable=str(data[1]), values=tuple(values))
        return Condition(op, terms=tuple(Condition.from_json(t) for t in data[1:]))  # type: ignore[arg-type]


def _joined(op: str, one: Condition, other: Condition) -> Condition:
    """Both by one operator; what is joined by it already gains a term, so that long conditions are not deep ones."""
    return Condition(op, terms=(*(one.terms if one.op == op else (one,)), other))


ALWAYS = Condition("true")
NEVER = Condition("false")


def as_condition(value: Condition | bool) -> Condition:
    """A condition from a condition or a plain truth value."""
    if isinstance(value, Condition):
        return value
    return ALWAYS if value else NEVER


def assignment(values: Mapping[str, Choice]) -> Assignment:
    """`values` as a hashable, sorted tuple."""
    return tuple(sorted(values.items()))


MOST_ASSIGNMENTS = 1024
"""So many assignments of the variables that one segment or stage depends on are told apart; more are refused."""


def count_assignments(variables: Sequence[Variable]) -> int:
    """How many assignments some variables have."""
    return prod(len(variable.axis.values) for variable in variables)


def too_many(segment: str, read: Sequence[Variable]) -> str:
    """Why a segment whose inputs have so many shapes is refused."""
    return (
        f"segment {segment} has {count_assignments(read)} variants, one for every choice of {', '.join(v.name for v in read)}: what "
        f"comes into it has another shape on each route; let every layer end in one shape, so that routes meet again (at most {MOST_ASSIGNMENTS})"
    )


def assignments(variables: Sequence[Variable]) -> list[Assignment]:
    """Every assignment of the given variables; one empty assignment for none."""
    found: list[dict[str, Choice]] = [{}]
    for variable in variables:
        found = [{**known, variable.name: value} for known in found for value in variable.axis.values]
    return [assignment(values) for values in found]


def describe(values: Assignment) -> str:
    """For people and file names: `exit=3,scale=2`."""
    return ",".join(f"{name}={value}" for name, value in values)
