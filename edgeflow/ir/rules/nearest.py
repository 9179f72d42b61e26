"""The axis value nearest to a length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules.base import HostRule, StreamContext


@dataclass(frozen=True)
class Length:
    """The length of a program input along its free dimension."""

    input: str


@dataclass(frozen=True)
class Nearest(HostRule):
    """The axis value nearest to a length; ties go to the `higher` or the `lower` value.

    Source: Frame Adaptive Network (a clip of n frames takes the nearest sub-network).
    """

    length: int | Length
    ties: str = "higher"
    kind: ClassVar[str] = "nearest"
    word: ClassVar[str] = "nearest"

    def __post_init__(self) -> None:
        if self.ties not in ("higher", "lower"):
            raise FlowError(f"Nearest: ties go to the 'higher' or the 'lower' value, got {self.ties!r}")

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of other values than numbers."""
        if any(isinstance(value, str) for value in axis.values):
            raise FlowError(f"Nearest needs an axis of numbers, got {axis.values!r}")

    @classmethod
    def spelling(cls) -> str:
        """A length that is always the same; ties go to the higher value."""
        return "nearest:LENGTH"

    @classmethod
    def parse(cls, *numbers: str) -> Nearest:
        """See `Rule.parse`."""
        (length,) = numbers
        return cls(int(length))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Nearest:
        """See `Rule.from_json`."""
        length = data["length"]
        return cls(Length(**length) if isinstance(length, dict) else length, data["ties"])

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """See `HostRule.choose`."""
        axis = variable.axis
        wanted = self.length if isinstance(self.length, int) else context.lengths[self.length.input]
        self.check_axis(axis)
        numbers = [float(value) for value in axis.values]
        sign = -1.0 if self.ties == "higher" else 1.0
        return min(range(len(numbers)), key=lambda i: (abs(numbers[i] - wanted), sign * numbers[i]))
