"""Where a routed frame's time goes, from what its FLOPs ask for to what was measured.

The full static model sets the rate: its milliseconds per FLOP. At that rate the routed frame's FLOPs
would take `routed FLOPs x rate`, and realisation would be 1. Every further step is a loss: what a part
of the routed frame takes beyond what the same FLOPs take in the same part of the full model. A part
that does better than in the full model is a negative loss.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Work:
    """FLOPs of a frame.

    Attributes:
        useful: for the pixels of the patches.
        halo: for the pixels that tiles hold beyond their patches.
        padding: for regions that were repeated to fill a batch.
        router: of stages that only decisions read.
    """

    useful: float
    halo: float
    padding: float
    router: float

    @property
    def routed(self) -> float:
        """All but the router's."""
        return self.useful + self.halo + self.padding

    @property
    def total(self) -> float:
        """All of them."""
        return self.routed + self.router


@dataclass(frozen=True)
class Spent:
    """Milliseconds of a frame, by what they went to.

    Attributes:
        router: its engines' runs.
        convolutions: operators that count FLOPs, in all other engines.
        operators: the other operators of these engines.
        launches: runs of these engines, less their operators.
        batches: forming batches: rows gathered, or found to lie together.
        tiles: cutting tiles and stitching patches.
        rest: Python and everything else.
    """

    router: float
    convolutions: float
    operators: float
    launches: float
    batches: float
    tiles: float
    rest: float

    @property
    def total(self) -> float:
        """The whole call."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


@dataclass(frozen=True)
class FrameCost:
    """What a clip's mean frame was, and took."""

    work: Work
    spent: Spent


@dataclass(frozen=True)
class Step:
    """One step of the waterfall: its name, its milliseconds per frame, and what it means."""

    name: str
    ms: float
    meaning: str


@dataclass(frozen=True)
class Waterfall:
    """A routed model against its full static model.

    Attributes:
        full: what ran as the full static model.
        routed_cost: of the routed model.
        full_cost: of the full static model; it has no router.
        realisation: (full time / routed time) / (full FLOPs / routed FLOPs).
        steps: their milliseconds add up to the routed frame's time.
    """

    full: str
    routed_cost: FrameCost
    full_cost: FrameCost
    realisation: float
    steps: tuple[Step, ...]


_LOSSES = {
    "convolutions": ("slower convolutions", "and matrix products: small shapes"),
    "operators": ("other operators", "bytes moved"),
    "launches": ("launches", "engines' runs less their operators"),
    "batches": ("forming batches", "rows gathered and scattered"),
    "tiles": ("tiles", "cut and stitched"),
}
"""Name and meaning of the parts that are compared with the full model's."""


def waterfall(full: str, routed: FrameCost, static: FrameCost) -> Waterfall:
    """Turn two measurements into the steps between them.

    Args:
        full: what ran as the full static model, for people.
        routed: of the routed model, over a clip.
        static: of the full static model, over the same clip; its router costs nothing. What it
            padded counts as its loss, not as its FLOPs.
    """
    flops = static.work.useful + static.work.halo
    rate = static.spent.total / flops
    work, spent = routed.work, routed.spent
    steps = [
        Step("useful FLOPs", work.useful * rate, "at the full model's rate"),
        Step("router FLOPs", work.router * rate, "at that rate"),
        Step("halo FLOPs", work.halo * rate, "pixels beyond the tiles' patches"),
        Step("padding FLOPs", work.padding * rate, "regions repeated to fill batches"),
        Step("slower router", spent.router - work.router * rate, "its engines beyond their FLOPs"),
    ]
    for part, (name, meaning) in _LOSSES.items():
        loss = getattr(spent, part) - work.routed * getattr(static.spent, part) / flops
        steps.append(Step(name, loss, meaning))
    rest = spent.total - sum(step.ms for step in steps)
    steps.append(Step("everything else", rest, "Python"))
    return Waterfall(full, routed, static, work.total * rate / spent.total, tuple(steps))
