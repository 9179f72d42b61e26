"""How often VA-RED2 is right on motions made of a clip, and what each kind of motion costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edgeflow.models.motions import MOTIONS
from edgeflow.models.va_red2 import Plain, Reduced
from edgeflow.training.data import Clip
from edgeflow.training.motion import Motions, judged_part
from edgeflow.training.va_red2 import relative_cost

SEED = 20


@dataclass(frozen=True)
class ReducedScore:
    """Scores of one clip.

    Attributes:
        clip: file name.
        motions: scored.
        right: the share of them that is named right.
        cost: of the dynamic layers, over what they cost in full.
        cost_by_motion: the same, of every kind of motion.
        branches: of every layer and kind, how often each branch was the largest one computed.
    """

    clip: str
    motions: int
    right: float
    cost: float
    cost_by_motion: Mapping[str, float]
    branches: Mapping[str, tuple[float, ...]]


@torch.no_grad()
def evaluate(model: Reduced | Plain, clip: Clip, whole: bool, most: int = 60) -> ReducedScore:
    """Score a model on motions made of a clip, the same for every model.

    Args:
        model: trained.
        clip: of any size.
        whole: make motions of all of it, as fits one held out, and not of its last fifth.
        most: motions scored.

    Raises:
        TrainError: the part is shorter than a motion.
    """
    model.eval()
    frames, _, side, _ = (int(d) for d in model.inputs[0].shape)
    drawn = Motions((judged_part(clip, whole, side),), frames, side, np.random.default_rng(SEED)).draw(most)
    if isinstance(model, Plain):
        scores, costs, branches = model.plain(drawn.clips), torch.ones(most), {}
    else:
        scores, gates = model.shared(drawn.clips)
        costs = relative_cost(model, gates)
        branches = {f"{i}.{kind}": _shares(g) for i, own in enumerate(gates) for kind, g in enumerate(own)}
    by_motion = {
        name: float(costs[drawn.labels == place].mean())
        for place, name in enumerate(MOTIONS)
        if (drawn.labels == place).any()
    }
    right = (scores.argmax(1) == drawn.labels).float().mean()
    return ReducedScore(clip.name, most, float(right), float(costs.mean()), by_motion, branches)


def _shares(gates: torch.Tensor) -> tuple[float, ...]:
    """How often each branch is the first one open; the last if none is."""
    alive = gates > 0
    first = torch.where(alive.any(1), alive.int().argmax(1), gates.shape[1] - 1)
    return tuple((torch.bincount(first, minlength=gates.shape[1]) / len(first)).tolist())
