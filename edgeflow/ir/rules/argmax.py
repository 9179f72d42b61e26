"""The largest score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeflow.ir.route import Axis
from edgeflow.ir.rules.base import Chosen, ScoreRule, Scores, Worth


@dataclass(frozen=True)
class Argmax(ScoreRule):
    """The axis value with the largest logit; the first of equals. Scores: (regions, values)."""

    kind: ClassVar[str] = "argmax"
    word: ClassVar[str] = "argmax"
    gradient: ClassVar[str] = "gumbel"
    compares: ClassVar[bool] = True

    def decide(self, scores: Scores, axis: Axis, before: Chosen | None = None) -> Chosen:
        """See `ScoreRule.decide`."""
        self.check_width(scores, axis)
        best: Chosen = np.argmax(scores, axis=1)
        return best

    def worth(self, scores: Scores, axis: Axis, charges: Worth) -> Worth:
        """See `ScoreRule.worth`: its logit, counted from that of all values together, so that those of several axes add up."""
        self.check_width(scores, axis)
        logits = scores.astype(np.float64)
        most = logits.max(axis=1, keepdims=True)
        together = most + np.log(np.exp(logits - most).sum(axis=1, keepdims=True))
        left: Worth = logits - together - charges
        return left
