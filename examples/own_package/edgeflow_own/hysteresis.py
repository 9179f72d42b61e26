"""A rule with a memory for each region: it changes its mind only where another value is better by a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeflow.ir.route import Axis
from edgeflow.ir.rules import ScoreRule, Scores
from edgeflow.ir.rules.base import Chosen


@dataclass(frozen=True)
class Hysteresis(ScoreRule):
    """The largest score, once it beats that of the value taken on the last frame by more than `margin`."""

    margin: float
    kind: ClassVar[str] = "hysteresis"
    word: ClassVar[str] = "hysteresis"
    history: ClassVar[bool] = True

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_width(scores, axis)
        best: Chosen = np.argmax(scores, axis=1)
        if before is None:
            return best
        rows = np.arange(len(scores))
        return np.where(scores[rows, best] > scores[rows, before] + self.margin, best, before)
