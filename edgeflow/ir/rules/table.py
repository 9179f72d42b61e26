"""A table from one score to a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, Worth


@dataclass(frozen=True)
class Table(ScoreRule):
    """The axis value in whose range the score of a region lies.

    For the axis ("copy", "half", "full"), `Table((0.1, 0.4))` copies below 0.1, and takes the full way from 0.4 on.

    Attributes:
        bounds: ascending, one fewer than the axis has values; a score that equals a bound lies above it.
    """

    bounds: tuple[float, ...]
    kind: ClassVar[str] = "table"
    word: ClassVar[str] = "table"
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if list(self.bounds) != sorted(set(self.bounds)):
            raise FlowError(f"Table: bounds ascend, got {self.bounds!r}")

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of another number of values."""
        if len(axis.values) != len(self.bounds) + 1:
            raise FlowError(
                f"a table of {len(self.bounds)} bounds decides {len(self.bounds) + 1} values, got {axis.values!r}"
            )

    def width(self, axis: Axis) -> int:
        """One score per region."""
        return 1

    @classmethod
    def spelling(cls) -> str:
        """As many bounds as the axis has values, less one."""
        return "table:BOUND:..."

    @classmethod
    def parse(cls, *numbers: str) -> Table:
        """See `Rule.parse`."""
        return cls(tuple(float(number) for number in numbers))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Table:
        """See `Rule.from_json`."""
        return cls(tuple(data["bounds"]))

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_axis(axis)
        self.check_width(scores, axis)
        return np.searchsorted(np.array(self.bounds, np.float32), scores[:, 0], side="right").astype(np.intp)

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """See `ScoreRule.worth`: by how much the score exceeds every bound below it, added up; a charge moves the bounds."""
        self.check_axis(axis)
        self.check_width(scores, axis)
        above = scores.astype(np.float64) - np.array(self.bounds, np.float32)
        return np.pad(np.cumsum(above, axis=1), ((0, 0), (1, 0))) - charges
