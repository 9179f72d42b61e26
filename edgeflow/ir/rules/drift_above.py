"""A key frame where a measure says that the frame has drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules.base import HostRule, StreamContext, check_two


@dataclass(frozen=True)
class DriftAbove(HostRule):
    """The axis's first value where a measure of the frame exceeds a threshold, else the second.

    The first value is also taken on the first frame, and `longest` frames after it was last taken, so
    that nothing gets older than that. A measure that is no number exceeds every threshold.
    """

    threshold: float
    longest: int
    kind: ClassVar[str] = "drift-above"
    word: ClassVar[str] = "drift"
    history: ClassVar[bool] = True
    measures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise FlowError(f"DriftAbove: the longest interval counts frames from 1 up, got {self.longest}")

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of other than two values."""
        check_two(self, axis)

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """See `HostRule.choose`."""
        if measured is None:
            raise FlowError(f"DriftAbove reads a measure: give f.decide(measure, {variable.name}=...) one")
        since = context.since.get(variable.name)
        fresh = since is not None and since < self.longest and measured <= self.threshold
        return 1 if fresh else 0
