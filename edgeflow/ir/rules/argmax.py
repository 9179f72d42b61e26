"""The largest score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores


@dataclass(frozen=True)
class Argmax(ScoreRule):
    """The axis value with the largest logit; the first of equals. Scores: (regions, values)."""

    kind: ClassVar[str] = "argmax"
    word: ClassVar[str] = "argmax"
    gradient: ClassVar[str] = "gumbel"

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_width(scores, axis)
        best: Chosen = np.argmax(scores, axis=1)
        return best
