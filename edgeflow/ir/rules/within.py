"""The largest axis value that a call has time for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules.base import HostRule, StreamContext
from edgeflow.ir.rules.nearest import Nearest


@dataclass(frozen=True)
class Within(HostRule):
    """The largest axis value whose calls took no longer than this, and none above what a clip has frames for.

    What a value costs is measured as calls take it, and fades while they do not, so that it is tried again some time; one that
    no call took yet is expected to cost as much more than the nearest one measured as it is larger. The first call takes the
    smallest value, and so does one that has no time for any.

    Attributes:
        milliseconds: that a call may take.
    """

    milliseconds: float
    kind: ClassVar[str] = "within"
    word: ClassVar[str] = "within"

    def __post_init__(self) -> None:
        if not self.milliseconds > 0:
            raise FlowError(f"a call has more than 0 milliseconds, got {self.milliseconds:g}")

    def check_axis(self, axis: Axis) -> None:
        """Refuse an axis of other values than ascending numbers above 0."""
        numbers = [value for value in axis.values if not isinstance(value, str)]
        if len(numbers) < len(axis.values) or list(numbers) != sorted(numbers) or min(numbers) <= 0:
            raise FlowError(f"Within needs an axis of ascending numbers above 0, got {axis.values!r}")

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """See `HostRule.choose`."""
        last = len(variable.axis.values) - 1
        if context.lengths:
            last = Nearest(max(context.lengths.values())).choose(context, variable)
        took = context.took.get(variable.name, {})
        sizes = [float(value) for value in variable.axis.values]
        fits = [place for place in range(last + 1) if took and _cost(place, sizes, took) <= self.milliseconds]
        return max(fits, default=0)


def _cost(place: int, sizes: list[float], took: Mapping[int, float]) -> float:
    """Milliseconds that a value is expected to cost."""
    nearest = min(took, key=lambda known: abs(known - place))
    return took[nearest] * sizes[place] / sizes[nearest]
