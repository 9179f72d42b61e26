"""The curriculum of RIFE's router: it learns how wrong each way was where the true picture is known.

The network itself stays as it was published. Labels are measured on the way: every step adds one crop, until there are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.flow import Eager
from edgeflow.ir.route import Choice
from edgeflow.models.rife import RIFE, build
from edgeflow.models.rife.model import PUBLISHED
from edgeflow.models.rife.router import CELL
from edgeflow.models.rife.weights import load_published, published_file
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import misjudged
from edgeflow.training.order import Order, Trainee
from edgeflow.training.samples import Samples

CROP = 352
"""Side of the crops whose errors are measured, in pixels."""
THINNED = 2
"""One row and column of so many is looked at, about as of a frame at 1280x720."""
ENOUGH = 500
"""Crops; later steps learn from those."""
BATCH = 8
RATE = 2e-3
PATCH = 10
"""Side, in cells, of the patches that errors are compared over: about what a tile answers for."""


@dataclass(frozen=True)
class Measured:
    """A crop, and how wrong each way was.

    Attributes:
        frames: first and last, (2, 3, h, w) float32 in [0, 1].
        errors: of every way of a tile, and of the whole, squared, in levels of 255, (ways + 1, h / 16, w / 16).
    """

    frames: Tensor
    errors: Tensor


class Curriculum(nn.Module):
    """The loss, and the router that learns.

    Args:
        model: with its network's weights.
        samples: where crops come from.
        rng: draws the batches.
    """

    def __init__(self, model: RIFE, samples: Samples, rng: np.random.Generator) -> None:
        super().__init__()
        self.model, self._samples, self._rng = model, samples, rng
        self._known: list[Measured] = []

    def stages(self) -> tuple[Stage, ...]:
        """One."""
        return (Stage("judge", 1.0, RATE, (self.model.router,), self.judge, gradient_norm=5.0),)

    def judge(self) -> Loss:
        """How far the guesses are from what was measured."""
        if len(self._known) < ENOUGH:
            self._known.append(measured(self.model, *self._samples.crops(1)))
        drawn = [self._known[i] for i in self._rng.integers(len(self._known), size=BATCH)]
        first, last = torch.stack([each.frames for each in drawn], 1)
        guessed = self.model.router.errors(first, last, (CROP // THINNED, CROP // THINNED))
        loss = misjudged(guessed, torch.stack([each.errors for each in drawn]), PATCH)
        return Loss(loss, {"crops": torch.tensor(float(len(self._known)))})


@torch.no_grad()
def measured(model: RIFE, first: Tensor, middle: Tensor, last: Tensor) -> Measured:
    """How wrong each of a model's ways is on a triplet, (1, 3, h, w) each."""
    routes: list[dict[str, Choice]] = [{"extent": "tiles", "way": way} for way in model.way.values]
    routes.append({"extent": "whole"})
    time = torch.full((1, 1), 0.5)
    made = [Eager(model, route)(first, last, time).outputs[0] for route in routes]
    squared = [((picture.clamp(0, 1) - middle) * 255).square().mean(1, keepdim=True) for picture in made]
    return Measured(torch.cat((first, last)), F.avg_pool2d(torch.cat(squared, 1), THINNED * CELL)[0])


def begin(order: Order) -> Trainee:
    """What `edgeflow train rife` trains."""
    model = build(order.preset, order.variant)
    if order.preset == PUBLISHED:
        load_published(model, published_file())
    curriculum = Curriculum(model, Samples(order.clips(None).training, CROP, order.rng), order.rng)
    return Trainee(model, curriculum, curriculum.stages())
