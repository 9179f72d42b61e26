"""What is known before a step of a plan, and what reading and writing then may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeflow.ir.interface import held_shape
from edgeflow.ir.program import FRAME, Shape, Tile, Value
from edgeflow.ir.route import Axis, Condition


@dataclass
class Known:
    """What is known before a step.

    Attributes:
        values: of the plan, by name.
        made: names of the values that are there.
        tilings: by the regions they make.
        axes: of the variables that are decided.
        owners: regions that they are decided for.
    """

    values: Mapping[str, Value]
    made: set[str]
    tilings: dict[str, Tile] = field(default_factory=dict)
    axes: dict[str, Axis] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def shape(self, name: str, variant: Mapping[str, object]) -> Shape | None:
        """A value's shape as it is held; None where the variant does not say which of its shapes it is."""
        value = self.values[name]
        for assigned, shape in value.shapes:
            if all(key in variant and same(variant[key], own) for key, own in assigned):
                return held_shape(shape) if value.image else shape
        return None


def reads(names: Sequence[str], regions: str, known: Known) -> Iterator[str]:
    """Values that are not there yet, or of other regions."""
    for name in names:
        value = known.values.get(name)  # a state that no graph reads itself has none
        if name not in known.made:
            yield f"it reads {name!r} before it is made"
        elif value is not None and value.regions != regions:
            yield f"it reads {name!r}, which is of {value.regions!r}, not of {regions!r}"


def writes(names: Sequence[str], regions: str, known: Known) -> Iterator[str]:
    """Values that are made twice, or are of other regions; they are there from now on."""
    for name in names:
        if name in known.made:
            yield f"it makes {name!r} a second time"
        elif name not in known.values or known.values[name].regions != regions:
            yield f"it makes {name!r}, which is no value of {regions!r}"
        known.made.add(name)


def asks(condition: Condition, regions: str, known: Known) -> Iterator[str]:
    """Variables that are not decided yet, or for other regions; choices that their axes lack."""
    for name, values in _asked(condition):
        if name not in known.axes:
            yield f"it asks for {name!r} before that is decided"
        elif known.owners[name] not in (regions, FRAME):
            yield f"it asks for {name!r}, which is decided for {known.owners[name]!r}"
        else:
            yield from (
                f"{value!r} is no choice of {name}" for value in values if not has(known.axes[name], value)
            )


def _asked(condition: Condition) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Each variable and the values that a condition asks of it."""
    waiting = [condition]
    while waiting:
        own = waiting.pop()
        waiting += own.terms
        if own.op == "in":
            yield own.variable, own.values


def has(axis: Axis, value: object) -> bool:
    """Whether a choice is one of an axis."""
    return any(same(own, value) for own in axis.values)


def same(one: object, other: object) -> bool:
    """Whether two choices are one: 1 is not True."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
