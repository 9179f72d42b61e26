"""Decision rules: how logits, or what the host knows, become a choice.

The eager interpreter and the runtime call the same code, in numpy, so that a route can only
differ where the logits differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable

Scores: TypeAlias = NDArray[np.float32]


@dataclass
class StreamContext:
    """What the host knows when it decides for a frame.

    Attributes:
        since: per variable that is decided per frame, frames since it last took its axis's first value,
            1 on the frame after; absent if it never did since the last reset.
        lengths: per program input, its run-time length where that is free.
    """

    since: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    def advance(self, chosen: Mapping[str, NDArray[np.intp]]) -> None:
        """Go on to the next frame.

        Args:
            chosen: per variable, the index that every region took on this frame; variables of several
                regions are passed over.
        """
        for name, indices in chosen.items():
            if len(indices) == 1 and indices[0] == 0:
                self.since[name] = 1
            elif name in self.since:
                self.since[name] += 1


@dataclass(frozen=True)
class Argmax:
    """The axis value with the largest logit; the first of equals. Scores: (regions, values)."""

    kind: ClassVar[str] = "argmax"

    def decide(self, scores: Scores, axis: Axis) -> NDArray[np.intp]:
        """Chosen index per region: (regions,)."""
        _check_width(scores, axis)
        best: NDArray[np.intp] = np.argmax(scores, axis=1)
        return best


@dataclass(frozen=True)
class FirstNonZero:
    """The first axis value whose gate is not zero; the last where all are.

    Source: VA-RED2, section 3 (max(tanh(.), 0) gates; the first non-zero entry sets the cost).
    """

    kind: ClassVar[str] = "first-non-zero"

    def decide(self, scores: Scores, axis: Axis) -> NDArray[np.intp]:
        """Chosen index per region: (regions,)."""
        _check_width(scores, axis)
        alive: NDArray[np.bool_] = scores != 0
        return np.where(alive.any(axis=1), np.argmax(alive, axis=1), len(axis.values) - 1)


@dataclass(frozen=True)
class ConfidenceBelow:
    """True where the largest softmax probability of the scores is below the threshold.

    For an axis (False, True): go on where the answer so far is not sure enough.
    """

    threshold: float
    kind: ClassVar[str] = "confidence-below"

    def decide(self, scores: Scores, axis: Axis) -> NDArray[np.intp]:
        """Chosen index per region: (regions,)."""
        if set(axis.values) != {False, True}:
            raise FlowError(f"ConfidenceBelow decides a (False, True) axis, got {axis.values!r}")
        flat = scores.reshape(len(scores), -1)
        shifted = np.exp(flat - flat.max(axis=1, keepdims=True))
        unsure = (shifted.max(axis=1) / shifted.sum(axis=1)) < self.threshold
        return np.where(unsure, axis.index(True), axis.index(False)).astype(np.intp)


@dataclass(frozen=True)
class KeyFrameInterval:
    """The axis's first value on the first frame and `interval` frames after it was last taken, else the second.

    Source: Shortcut-V2V, Algorithm 1 (a key frame every alpha frames).
    """

    interval: int
    kind: ClassVar[str] = "key-frame-interval"
    measures: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise FlowError(f"a key-frame interval counts frames from 1 up, got {self.interval}")

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """Chosen index for this frame."""
        since = context.since.get(variable.name)
        return 0 if since is None or since >= self.interval else 1


@dataclass(frozen=True)
class DriftAbove:
    """The axis's first value where a measure of the frame exceeds a threshold, else the second.

    The first value is also taken on the first frame, and `longest` frames after it was last taken, so
    that nothing gets older than that. A measure that is no number exceeds every threshold.
    """

    threshold: float
    longest: int
    kind: ClassVar[str] = "drift-above"
    measures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise FlowError(f"DriftAbove: the longest interval counts frames from 1 up, got {self.longest}")

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """Chosen index for this frame.

        Raises:
            FlowError: the flow measures nothing for this decision.
        """
        if measured is None:
            raise FlowError(f"DriftAbove reads a measure: give f.decide(measure, {variable.name}=...) one")
        since = context.since.get(variable.name)
        fresh = since is not None and since < self.longest and measured <= self.threshold
        return 1 if fresh else 0


@dataclass(frozen=True)
class Length:
    """The length of a program input along its free dimension."""

    input: str


@dataclass(frozen=True)
class Nearest:
    """The axis value nearest to a length; ties go to the `higher` or the `lower` value.

    Source: Frame Adaptive Network (a clip of n frames takes the nearest sub-network).
    """

    length: int | Length
    ties: str = "higher"
    kind: ClassVar[str] = "nearest"
    measures: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.ties not in ("higher", "lower"):
            raise FlowError(f"Nearest: ties go to the 'higher' or the 'lower' value, got {self.ties!r}")

    def choose(self, context: StreamContext, variable: Variable, measured: float | None = None) -> int:
        """Chosen index for this clip."""
        axis = variable.axis
        wanted = self.length if isinstance(self.length, int) else context.lengths[self.length.input]
        numbers = [float(v) for v in axis.values if not isinstance(v, str)]
        if len(numbers) != len(axis.values):
            raise FlowError(f"Nearest needs an axis of numbers, got {axis.values!r}")
        sign = -1.0 if self.ties == "higher" else 1.0
        return min(range(len(numbers)), key=lambda i: (abs(numbers[i] - wanted), sign * numbers[i]))


ScoreRule: TypeAlias = Argmax | FirstNonZero | ConfidenceBelow
HostRule: TypeAlias = KeyFrameInterval | DriftAbove | Nearest
Rule: TypeAlias = ScoreRule | HostRule

_KINDS: dict[str, type[Any]] = {
    rule.kind: rule for rule in (Argmax, FirstNonZero, ConfidenceBelow, KeyFrameInterval, DriftAbove, Nearest)
}


def rule_to_json(rule: Rule) -> dict[str, object]:
    """A rule as plain data."""
    return {"kind": rule.kind, **asdict(rule)}


def rule_from_json(data: dict[str, Any]) -> Rule:
    """Inverse of `rule_to_json`.

    Raises:
        FlowError: a rule this version does not know.
    """
    fields = {name: value for name, value in data.items() if name != "kind"}
    if isinstance(fields.get("length"), dict):
        fields["length"] = Length(**fields["length"])
    if data["kind"] not in _KINDS:
        raise FlowError(f"unknown decision rule {data['kind']!r}: known are {', '.join(sorted(_KINDS))}")
    rule: Rule = _KINDS[data["kind"]](**fields)
    return rule


def _check_width(scores: Scores, axis: Axis) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(axis.values):
        raise FlowError(
            f"the axis {axis.values!r} needs scores of shape (regions, {len(axis.values)}), got {scores.shape}"
        )


def evenly(length: int, count: int) -> list[int]:
    """`count` evenly spaced positions in `range(length)`, each in the middle of its share.

    Source: TSM's sampling, int(tick / 2 + tick * i).
    """
    tick = length / count
    return [int(tick / 2 + tick * i) for i in range(count)]
