"""Whether a frame is better computed whole than part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, Worth, check_two
from edgeflow.ir.rules.priced import at_quality


@dataclass(frozen=True)
class Spread(ScoreRule):
    """The axis's first value where parts of the frame, each at what `Priced` chooses for it, are worth more than the whole; else the second.

    Scores are those of parts that cover the frame evenly, all parts' first value first, and last what the whole frame is
    worth in each part: (1, values x parts). What a part is worth is its score - price x cost. The whole is also taken where
    parts would cost more.

    Attributes:
        price: of a unit of cost, in units of the scores.
        costs: of every value that a part may take, over what the whole frame costs for a part; the whole itself costs 1.
    """

    price: float
    costs: tuple[float, ...]
    kind: ClassVar[str] = "spread"
    word: ClassVar[str] = "spread"
    weighs: ClassVar[bool] = True
    compares: ClassVar[bool] = True

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
        taken: Chosen = np.argmax(self.worth(scores, axis, np.zeros(2)), axis=1)
        return taken

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """See `ScoreRule.worth`: what is charged for the whole is a part's price, too, for the value that it then takes."""
        self.check_axis(axis)
        values = len(self.costs) + 1
        if scores.ndim != 2 or not scores.shape[1] or scores.shape[1] % values:
            raise FlowError(
                f"spread reads {values} scores of every part, got an array of shape {scores.shape}"
            )
        charged = np.broadcast_to(charges, (len(scores), 2))
        price = self.price + charged[:, 1]
        parts = scores.astype(np.float64).reshape(len(scores), values, -1)
        costs = np.array(self.costs)
        paid = parts[:, :-1] - price[:, None, None] * costs[:, None]
        spread = paid.max(1).mean(1) - charged[:, 0]
        dearer = costs[paid.argmax(1)].mean(1) > 1
        return np.stack([np.where(dearer, -np.inf, spread), parts[:, -1].mean(1) - price], axis=1)
