"""The first gate that is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, Worth


@dataclass(frozen=True)
class FirstNonZero(ScoreRule):
    """The first axis value whose gate is not zero; the last where all are.

    Source: VA-RED2, section 3 (max(tanh(.), 0) gates; the first non-zero entry sets the cost).
    """

    kind: ClassVar[str] = "first-non-zero"
    word: ClassVar[str] = "first-non-zero"
    gradient: ClassVar[str] = "straight-through"
    compares: ClassVar[bool] = True

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_width(scores, axis)
        alive = scores != 0
        return np.where(alive.any(axis=1), np.argmax(alive, axis=1), len(axis.values) - 1)

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """See `ScoreRule.worth`: less by the gates before it, whose branches it leaves out."""
        self.check_width(scores, axis)
        gates = np.abs(scores.astype(np.float64))
        left: Worth = gates - np.cumsum(gates, axis=1) - charges
        return left
