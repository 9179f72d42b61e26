"""The value whose score is highest once its cost is paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, Worth


@dataclass(frozen=True)
class Priced(ScoreRule):
    """The largest of score - price x cost, for every region; of equal ones the first.

    Scores are what a route is expected to be worth, such as minus its squared error, and the price says how much of that
    a unit of cost must bring.

    Attributes:
        price: of a unit of cost, in units of the scores.
        costs: of every value of the axis, in any unit.
    """

    price: float
    costs: tuple[float, ...]
    kind: ClassVar[str] = "priced"
    word: ClassVar[str] = "priced"
    weighs: ClassVar[bool] = True
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.price < 0 or min(self.costs, default=0) < 0:
            raise FlowError(f"prices and costs are 0 or more, got {self.price:g} and {self.costs!r}")

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of another number of values."""
        if len(axis.values) != len(self.costs):
            raise FlowError(f"{len(self.costs)} costs are for as many values, got {axis.values!r}")

    def at(self, quality: float) -> Priced:
        """See `Rule.at`: a half is the price as it is, 1 asks for none, 0 for all there is."""
        return replace(self, price=at_quality(self.price, quality))

    @classmethod
    def spelling(cls) -> str:
        """A price, and a cost for every value of the axis."""
        return "priced:PRICE:COST:..."

    @classmethod
    def parse(cls, *numbers: str) -> Priced:
        """See `Rule.parse`."""
        price, *costs = (float(number) for number in numbers)
        return cls(price, tuple(costs))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Priced:
        """See `Rule.from_json`."""
        return cls(data["price"], tuple(data["costs"]))

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_axis(axis)
        self.check_width(scores, axis)
        return best_paid(scores, self.price, self.costs)

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """See `ScoreRule.worth`: charges come on top of the price."""
        self.check_axis(axis)
        self.check_width(scores, axis)
        return paid(scores, self.price, self.costs) - charges


def best_paid(scores: Scores, price: float, costs: tuple[float, ...]) -> Chosen:
    """Position of the largest of score - price x cost: (regions,) of (regions, values)."""
    best: Chosen = np.argmax(paid(scores, price, costs), axis=1)
    return best


def paid(scores: Scores, price: float, costs: tuple[float, ...]) -> Worth:
    """Score - price x cost: (regions, values)."""
    left: Worth = scores.astype(np.float64) - price * np.asarray(costs)
    return left


def at_quality(price: float, quality: float) -> float:
    """A price where quality counts so much: its odds, so that a half leaves it as it is."""
    return float(price * min(1 / max(quality, 1e-9) - 1, 1e9))
