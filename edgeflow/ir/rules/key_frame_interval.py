"""A key frame every so many frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules.base import HostRule, StreamContext, check_two


@dataclass(frozen=True)
class KeyFrameInterval(HostRule):
    """The axis's first value on the first frame and `interval` frames after it was last taken, else the second.

    Source: Shortcut-V2V, Algorithm 1 (a key frame every alpha frames).
    """

    interval: int
    kind: ClassVar[str] = "key-frame-interval"
    word: ClassVar[str] = "interval"
    history: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise FlowError(f"a key-frame interval counts frames from 1 up, got {self.interval}")

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of other than two values."""
        check_two(self, axis)

    def shares(self, axis: Axis) -> tuple[float, ...]:
        """A key frame as often as the interval says."""
        return 1 / self.interval, 1 - 1 / self.interval

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """See `HostRule.choose`."""
        since = context.since.get(variable.name)
        return 0 if since is None or since >= self.interval else 1
