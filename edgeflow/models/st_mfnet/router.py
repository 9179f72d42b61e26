"""The small network that says where the larger network pays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHRINK = 4
"""The frames are averaged over squares of so many pixels first."""
CELL = 16
"""Side of the squares that are judged, in pixels."""
WIDTH = 8
STILL = 1.0
"""Squared levels of change that are taken for none."""
WORTH = 1.0
"""Squared levels of 255 by which the larger network has to be nearer, or the smaller one is taken."""


class Difficulty(nn.Module):
    """How wrong mini and full would be, from both middle frames and how they differ; 3 convolutions at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(10, WIDTH, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(2 * WIDTH, 2, 3, 1, 1),
        )

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """Scores of mini and full: minus what `errors` says, and minus what full has to be worth.

        (n, 3, h, w) twice -> (n, 2, h / 16, w / 16), rounded up.
        """
        errors = self.errors(frame1, frame2)
        return torch.cat([-errors[:, :1], -errors[:, 1:] - WORTH], 1)

    def errors(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """Mean squared errors to expect of mini and full in squares of 16 pixels, in squared levels of 255; shapes as above."""
        small1, small2 = (F.avg_pool2d(frame, SHRINK) for frame in (frame1, frame2))
        change = F.avg_pool2d((frame1 - frame2).square().mean(1, keepdim=True), SHRINK) * 255**2
        seen = torch.cat([small1, small2, (small1 - small2).abs(), torch.log(change + STILL) / 4], 1)
        return torch.exp(self.layers(seen).clamp(-4, 10))
