"""The small network that says where the larger network pays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHRINK = 4
"""The frames are averaged over squares of so many pixels first."""
WIDTH = 8


class Difficulty(nn.Module):
    """Logits of mini and full, from both middle frames and how they differ; 3 convolutions at a quarter of the size.

    Begins by the difference alone: the more, the rather full.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(9, WIDTH, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(2 * WIDTH, 2, 3, 1, 1),
        )

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """(n, 3, h, w) twice -> (n, 2, h / 16, w / 16), rounded up."""
        small1, small2 = (F.avg_pool2d(frame, SHRINK) for frame in (frame1, frame2))
        logits: Tensor = self.layers(torch.cat([small1, small2, (small1 - small2).abs()], 1))
        return logits
