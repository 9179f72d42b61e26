"""What a training is asked for, and what a family makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from edgeflow.training.data import Dataset
from edgeflow.training.loop import Stage

Clips = Callable[[tuple[int, int] | None], Dataset]
"""Decodes the clips to train on, resized to (height, width) unless that is None."""


@dataclass(frozen=True)
class Order:
    """What is to be trained.

    Attributes:
        preset: of the model.
        variant: of the model.
        clips: to train on.
        rng: draws the samples; torch is seeded, too.
        options: of the family's own options those that were given, by name.
    """

    preset: str
    variant: str
    clips: Clips
    rng: np.random.Generator
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Trainee:
    """What a family trains.

    Attributes:
        model: whose weights are kept in the end.
        learner: every network that learns, the model's own among them.
        stages: of the training, in order.
        identity: what was trained, beside preset and variant, for checkpoints and weights.
    """

    model: nn.Module
    learner: nn.Module
    stages: tuple[Stage, ...]
    identity: Mapping[str, str] = field(default_factory=dict)
