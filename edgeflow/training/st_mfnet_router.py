"""The curriculum of a pair's router: it learns how wrong either network was where the true picture is known.

The networks stay as they are. Labels are measured on the way: every step adds one crop, until there are enough.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import TrainError
from edgeflow.models.st_mfnet import PRESETS, Pair
from edgeflow.models.st_mfnet.router import CELL
from edgeflow.models.st_mfnet.weights import load_networks, pretrained
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import misjudged
from edgeflow.training.order import Order, Trainee
from edgeflow.training.samples import Samples, Window

CROP = 128
"""Side of the crops whose errors are measured, in pixels."""
ENOUGH = 100
"""Crops; later steps learn from those."""
BATCH = 8
RATE = 2e-3
PATCH = 6
"""Side, in cells, of the patches that errors are compared over: what a tile of `tiny` answers for."""


class Curriculum(nn.Module):
    """The loss, and the router that learns.

    Args:
        pair: with its networks' weights.
        samples: windows of five frames: two, the target, two.
        rng: draws the batches.
    """

    def __init__(self, pair: Pair, samples: Samples, rng: np.random.Generator) -> None:
        super().__init__()
        self.pair, self._samples, self._rng = pair, samples, rng
        self._known: list[tuple[Tensor, Tensor]] = []

    def stages(self) -> tuple[Stage, ...]:
        """One."""
        return (Stage("judge", 1.0, RATE, (self.pair.difficulty,), self.judge, gradient_norm=5.0),)

    def judge(self) -> Loss:
        """How far the guesses are from what was measured."""
        if len(self._known) < ENOUGH:
            frames = self._samples.crops(1).contiguous()
            self._known.append((frames[[1, 3]], measured(self.pair, frames)))
        drawn = [self._known[i] for i in self._rng.integers(len(self._known), size=BATCH)]
        first, second = torch.cat([frames for frames, _ in drawn], 1)
        errors = torch.cat([each for _, each in drawn])
        loss = misjudged(self.pair.difficulty.errors(first, second), errors, PATCH)
        return Loss(loss, {"mini": errors[:, 0].mean(), "full": errors[:, 1].mean()})


@torch.no_grad()
def measured(pair: Pair, frames: Tensor) -> Tensor:
    """Squared errors of mini and full in squares of 16 pixels, in squared levels of 255: (n, 2, h / 16, w / 16).

    Args:
        pair: with its networks' weights.
        frames: of a window, the true picture in the middle, (5, n, 3, h, w), sides multiples of 16.
    """
    before, first, target, second, after = frames
    made = (network.eval()(before, first, second, after) for network in (pair.mini, pair.network))
    wrong = [((picture.clamp(0, 1) - target) * 255).square().mean(1, keepdim=True) for picture in made]
    return F.avg_pool2d(torch.cat(wrong, 1), CELL)


def begin(order: Order, pair: Pair) -> Trainee:
    """What `edgeflow train st-mfnet` trains of a pair.

    Raises:
        TrainError: one of its networks comes without weights and none are given, or those given are of others.
    """
    larger, smaller = (
        _weights(order, "larger", order.preset),
        _weights(order, "smaller", PRESETS[order.preset].mini),
    )
    load_networks(pair, order.preset, larger, smaller)
    curriculum = Curriculum(pair, Samples(order.clips(None).training, CROP, order.rng, Window), order.rng)
    return Trainee(pair, curriculum, curriculum.stages())


def _weights(order: Order, option: str, preset: str | None) -> Path:
    found: Path | None = order.options.get(option) or pretrained(str(preset))
    if found is None:
        raise TrainError(
            f"{preset} comes without weights: train it by itself first (--variant alone), and give them by --{option}"
        )
    return found
