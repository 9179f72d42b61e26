"""Whether an answer is not sure enough yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores


@dataclass(frozen=True)
class ConfidenceBelow(ScoreRule):
    """True where the largest softmax probability of the scores is below the threshold.

    For an axis (False, True): go on where the answer so far is not sure enough.
    """

    threshold: float
    kind: ClassVar[str] = "confidence-below"
    word: ClassVar[str] = "confidence-below"

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
        flat = scores.reshape(len(scores), -1)
        shifted = np.exp(flat - flat.max(axis=1, keepdims=True))
        unsure = (shifted.max(axis=1) / shifted.sum(axis=1)) < self.threshold
        return np.where(unsure, axis.index(True), axis.index(False)).astype(np.intp)
