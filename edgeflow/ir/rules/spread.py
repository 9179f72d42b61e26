"""Whether so much of a frame is worth computing that it is cheaper to compute all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, check_two
from edgeflow.ir.rules.priced import at_quality, best_paid


@dataclass(frozen=True)
class Spread(ScoreRule):
    """The axis's first value while parts of the frame, each at what `Priced` chooses for it, cost less than the whole; else the second.

    Scores are those of parts that cover the frame evenly, all parts' first value first: (1, values x parts).

    Attributes:
        price: of a unit of cost, in units of the scores.
        costs: of every value that a part may take, over what the whole frame costs for a part.
    """

    price: float
    costs: tuple[float, ...]
    kind: ClassVar[str] = "spread"
    word: ClassVar[str] = "spread"
    weighs: ClassVar[bool] = True

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of other than two values."""
        check_two(self, axis)

    def width(self, axis: Axis) -> None:
        """Any number of parts."""

    def at(self, quality: float) -> Spread:
        """See `Rule.at`."""
        return replace(self, price=at_quality(self.price, quality))

    @classmethod
    def spelling(cls) -> str:
        """A price, and a cost for every value that a part may take."""
        return "spread:PRICE:COST:..."

    @classmethod
    def parse(cls, *numbers: str) -> Spread:
        """See `Rule.parse`."""
        price, *costs = (float(number) for number in numbers)
        return cls(price, tuple(costs))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spread:
        """See `Rule.from_json`."""
        return cls(data["price"], tuple(data["costs"]))

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_axis(axis)
        if scores.ndim != 2 or not scores.shape[1] or scores.shape[1] % len(self.costs):
            raise FlowError(
                f"spread reads {len(self.costs)} scores of every part, got an array of shape {scores.shape}"
            )
        costs = np.asarray(self.costs)
        taken = [
            costs[best_paid(own.reshape(len(costs), -1).T, self.price, self.costs)].mean() for own in scores
        ]
        return (np.array(taken) >= 1).astype(np.intp)
