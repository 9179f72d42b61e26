"""The curriculum of FAN: the longest length learns from labels, the others from the longest.

The paper's networks begin as ImageNet's, ours as nothing: so a stage comes first in which the longest learns alone.

Source: Frame Adaptive Network, section 4.4 (Mutual Distillation, Eq. 7 to 9, lambda 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.models.fan import PRESETS, FrameAdaptive, build
from edgeflow.training.device import fast
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.motion import Motions, stored_size, training_part
from edgeflow.training.order import Order, Trainee


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained.

    Attributes:
        batch: clips per step.
        rate: highest learning rate.
    """

    batch: int
    rate: float


RECIPES = {"tiny": Recipe(batch=12, rate=2e-3)}
"""By preset, where it is not `OTHERS`."""
OTHERS = Recipe(batch=32, rate=1e-3)
FRAMES = 16
"""Names of the motions that are drawn."""


class Curriculum(nn.Module):
    """The loss, and the network that learns.

    Args:
        model: to train.
        motions: where clips come from; of at least as many frames as its longest length.
        recipe: of its preset.
        rng: draws the frames that stand for a clip.
    """

    def __init__(
        self, model: FrameAdaptive, motions: Motions, recipe: Recipe, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self._motions, self._rng = motions, rng

    def stages(self) -> tuple[Stage, ...]:
        """The longest length alone, as the others have nothing to learn from one that knows nothing, and all together."""
        first = Stage("longest", 0.5, self.recipe.rate, (self.model,), self.learn, gradient_norm=5.0)
        if len(self.model.frames.values) == 1:
            return (first,)
        return (first, Stage("distil", 0.5, self.recipe.rate, (self.model,), self.distil, gradient_norm=5.0))

    def learn(self) -> Loss:
        """Cross-entropy of the longest length."""
        drawn = self._motions.draw(self.recipe.batch)
        scores = self._scores(drawn.clips, int(self.model.frames.values[-1]))
        loss = F.cross_entropy(scores, drawn.labels)
        return Loss(loss, {"right": (scores.argmax(1) == drawn.labels).float().mean()})

    def distil(self) -> Loss:
        """Cross-entropy of the longest length, and how far the others are from what it says, Eq. 9."""
        drawn = self._motions.draw(self.recipe.batch)
        longest, *others = sorted((int(length) for length in self.model.frames.values), reverse=True)
        taught = self._scores(drawn.clips, longest)
        parts = {"labels": F.cross_entropy(taught, drawn.labels)}
        told = taught.detach().log_softmax(1)
        for length in others:
            said = self._scores(drawn.clips, length).log_softmax(1)
            parts[f"from_{length}"] = F.kl_div(said, told, reduction="batchmean", log_target=True)
        right = (taught.argmax(1) == drawn.labels).float().mean()
        return Loss(torch.stack(list(parts.values())).sum(), {**parts, "right": right})

    def _scores(self, clips: torch.Tensor, length: int) -> torch.Tensor:
        """A batch of clips of so many frames, each drawn from its share of the clip."""
        tick = clips.shape[1] / length
        numbers = [int(tick * i + self._rng.uniform(0, tick)) for i in range(length)]
        with fast():
            scores: torch.Tensor = self.model.classify(clips[:, numbers], length)
        return scores.float()


def begin(order: Order) -> Trainee:
    """What `edgeflow train fan` trains."""
    model = build(order.preset, order.variant).train()
    side = PRESETS[order.preset].size[0]
    motions = Motions(training_part(order.clips(stored_size(side))), FRAMES, side, order.rng)
    curriculum = Curriculum(model, motions, RECIPES.get(order.preset, OTHERS), order.rng)
    return Trainee(model, curriculum, curriculum.stages())
