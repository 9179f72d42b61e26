"""What a decision rule is: it makes a choice of scores, or of what the host knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable

Scores: TypeAlias = NDArray[np.float32]

Worth: TypeAlias = NDArray[np.float64]
"""What every value is worth, per region: (regions, values)."""

Chosen: TypeAlias = NDArray[np.intp]
"""Positions on an axis, one per region: (regions,)."""

FADES = 0.98
"""What is left after a call of what other values are expected to cost."""


@dataclass
class StreamContext:
    """What the host knows when it decides for a frame.

    Attributes:
        since: per variable that is decided per frame, frames since it last took its axis's first value,
            1 on the frame after; absent if it never did since the last reset.
        taken: per variable, what every region took on the last frame; absent after a reset.
        lengths: per program input, its run-time length where that is free.
        took: per variable that is decided per frame, milliseconds of calls that took a value, by its place on the axis.
    """

    since: dict[str, int] = field(default_factory=dict)
    taken: dict[str, Chosen] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    took: dict[str, dict[int, float]] = field(default_factory=dict)

    def advance(self, chosen: Mapping[str, Chosen]) -> None:
        """Go on to the next frame.

        Args:
            chosen: per variable, the index that every region took on this frame, tiles row by row.
        """
        self.taken = dict(chosen)
        for name, indices in chosen.items():
            if len(indices) == 1 and indices[0] == 0:
                self.since[name] = 1
            elif name in self.since:
                self.since[name] += 1

    def time(self, milliseconds: float) -> None:
        """The last frame's call took so long. Later calls count most, so that a machine may become busier.

        What other values cost fades, so that one that was slow once is tried again.
        """
        for name, indices in self.taken.items():
            if len(indices) == 1:
                known = self.took.setdefault(name, {})
                place = int(indices[0])
                known.update({other: ms * FADES for other, ms in known.items() if other != place})
                known[place] = (known.get(place, milliseconds) + milliseconds) / 2


@dataclass(frozen=True)
class Rule:
    """A decision rule. Rules are one file each, and are found by name.

    Attributes:
        kind: its name in programs and bundles.
        word: its name on the command line, `--policy AXIS=WORD:NUMBER:...`.
        history: it looks at earlier frames, so that frames run one after the other.
        weighs: it weighs quality against time, so that `at` gives another rule.
    """

    kind: ClassVar[str]
    word: ClassVar[str]
    history: ClassVar[bool] = False
    weighs: ClassVar[bool] = False

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis that this rule cannot decide.

        Raises:
            FlowError: says which axes it decides.
        """

    def shares(self, axis: Axis) -> tuple[float, ...]:
        """What share of decisions takes each value, where nothing is known of the frames."""
        return (1 / len(axis.values),) * len(axis.values)

    @classmethod
    def spelling(cls) -> str:
        """How the command line spells it: `interval:INTERVAL`."""
        return ":".join([cls.word, *(own.name.upper() for own in fields(cls))])

    @classmethod
    def parse(cls, *numbers: str) -> Rule:
        """The rule that the command line spells, from what stands behind its word.

        Raises:
            ValueError: as many numbers as it has fields, and numbers, are wanted.
        """
        own = fields(cls)
        if len(numbers) != len(own):
            raise ValueError(f"{cls.word} takes {len(own)} numbers: {cls.spelling()}")
        kinds = {"int": int, "float": float, "str": str}
        words = [one.type.__name__ if isinstance(one.type, type) else str(one.type) for one in own]
        return cls(*(kinds[word](text) for word, text in zip(words, numbers, strict=True)))

    def at(self, quality: float) -> Rule:
        """The same rule where quality counts so much.

        Args:
            quality: from 0, as little time as there can be, to 1, whatever it takes; a half is the rule as it is.
        """
        return self

    def to_json(self) -> dict[str, object]:
        """Plain data, with the rule's kind."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        """Inverse of `to_json`."""
        return cls(**{name: value for name, value in data.items() if name != "kind"})


@dataclass(frozen=True)
class ScoreRule(Rule, ABC):
    """A rule that reads scores of every region.

    Attributes:
        gradient: how training passes gradients on to the scores: `gumbel` (straight through a Gumbel-softmax),
            `straight-through`, or `none`.
        compares: `worth` says what its values are worth, so that a deadline can weigh them against time.
    """

    gradient: ClassVar[str] = "none"
    compares: ClassVar[bool] = False

    def width(self, axis: Axis) -> int | None:
        """Scores that it reads of a region; None for any number."""
        return len(axis.values)

    @abstractmethod
    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """Chosen index per region: (regions,).

        Args:
            scores: (regions, values).
            axis: to choose from.
            before: what every region took on the last frame; None on the first frame of a stream. Rules
                with `history` read it.

        Raises:
            FlowError: scores of another width.
        """

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """What every value is worth once it is charged for: (regions, values). Where nothing is charged, what `decide` chooses is worth most.

        Args:
            scores: (regions, values).
            axis: to choose from.
            charges: (regions, values) or what broadcasts to it, 0 or more, in the unit of the scores.

        Raises:
            FlowError: scores of another width, or the rule cannot compare its values.
        """
        raise FlowError(f"{self.kind} does not say what its values are worth")

    def check_width(self, scores: Scores, axis: Axis) -> None:
        """Refuse scores of another width.

        Raises:
            FlowError: says what is wanted.
        """
        wanted = self.width(axis)
        if scores.ndim != 2 or (wanted is not None and scores.shape[1] != wanted):
            raise FlowError(
                f"the axis {axis.values!r} needs scores of shape (regions, {wanted or 'values'}), got {scores.shape}"
            )


@dataclass(frozen=True)
class HostRule(Rule, ABC):
    """A rule that decides per frame, by what the host knows.

    Attributes:
        measures: it reads a number that a segment made of the frame.
    """

    measures: ClassVar[bool] = False

    @abstractmethod
    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """Chosen index for this frame.

        Args:
            context: what is known of the stream.
            variable: to decide.
            measured: the number, if the flow makes one.

        Raises:
            FlowError: the flow measures nothing for this decision, and the rule needs it.
        """


def check_two(rule: Rule, axis: Axis) -> None:
    """Refuse an axis of more or fewer than two values.

    Raises:
        FlowError: says which rule decides between two.
    """
    if len(axis.values) != 2:
        raise FlowError(f"{rule.kind} decides between two values, got {axis.values!r}")
