"""Whether an answer is not sure enough yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, Worth


@dataclass(frozen=True)
class ConfidenceBelow(ScoreRule):
    """True where the largest softmax probability of the scores is below the threshold.

    For an axis (False, True): go on where the answer so far is not sure enough.
    """

    threshold: float
    kind: ClassVar[str] = "confidence-below"
    word: ClassVar[str] = "confidence-below"
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise FlowError(
                f"ConfidenceBelow: the threshold is a probability, 0 to 1, got {self.threshold:g}"
            )

    def check_axis(self, axis: Axis) -> None:
        """Refuse any axis but (False, True)."""
        if set(axis.values) != {False, True}:
            raise FlowError(f"ConfidenceBelow decides a (False, True) axis, got {axis.values!r}")

    def width(self, axis: Axis) -> int | None:
        """Any number of classes."""
        return None

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_axis(axis)
        return np.where(_confidence(scores) < self.threshold, axis.index(True), axis.index(False)).astype(
            np.intp
        )

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """See `ScoreRule.worth`: going on is worth what the answer lacks to be sure; what that costs lowers the threshold."""
        self.check_axis(axis)
        lacks = np.zeros((len(scores), 2))
        lacks[:, axis.index(True)] = self.threshold - _confidence(scores).astype(np.float64)
        return lacks - charges


def _confidence(scores: Scores) -> Scores:
    """The largest softmax probability: (regions,)."""
    flat = scores.reshape(len(scores), -1)
    shifted = np.exp(flat - flat.max(axis=1, keepdims=True))
    sure: Scores = shifted.max(axis=1) / shifted.sum(axis=1)
    return sure
