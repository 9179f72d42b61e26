"""A perceptual distance from a small network that is trained on the clips at hand.

The network learns to tell by which quarter turns a crop was rotated, for which it has to know what
things look like. No weights from elsewhere are needed.

Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations (ICLR 2018);
Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (CVPR 2018), Eq. 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = (16, 32, 64)
"""Channels at half, quarter and eighth size."""
TURNS = 4


class Features(nn.Module):
    """Features at three scales, and from the last the scores of each quarter turn."""

    def __init__(self) -> None:
        super().__init__()
        before = (3, *WIDTHS)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 5 if a == 3 else 3, 2, 2 if a == 3 else 1)
            for a, b in zip(before, WIDTHS, strict=False)
        )
        self.turns = nn.Linear(WIDTHS[-1], TURNS)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(n, 3, h, w) in [0, 1] -> features, finest first."""
        x, found = pictures * 2 - 1, []
        for layer in self.layers:
            x = F.relu(layer(x))
            found.append(x)
        return found

    def guess(self, pictures: torch.Tensor) -> torch.Tensor:
        """Scores (n, 4) of each quarter turn of square pictures (n, 3, s, s)."""
        scores: torch.Tensor = self.turns(self(pictures)[-1].mean((2, 3)))
        return scores


def rotation(features: Features, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of guessing turns of upright square crops (n, 3, s, s), and the share guessed right."""
    turned = torch.cat([crops.rot90(turn, (2, 3)) for turn in range(TURNS)])
    wanted = torch.arange(TURNS).repeat_interleave(len(crops))
    scores = features.guess(turned)
    return F.cross_entropy(scores, wanted), (scores.argmax(1) == wanted).float().mean()


def distance(features: Features, picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of features of unit length, summed over scales: a scalar.

    Args:
        features: trained; frozen by the caller.
        picture: (n, 3, h, w) in [0, 1].
        target: like it.
    """
    pairs = zip(features(picture), features(target), strict=True)
    gaps = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean()
        for a, b in pairs
    ]
    return torch.stack(gaps).sum()
