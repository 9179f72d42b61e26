"""The soft modulation gate: how much of a layer is computed, read off what comes into it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

HIDDEN = 32
"""Width of a gate's hidden layer. The paper gives none; the gates of R(2+1)D-18 cost a thousandth of it at this."""
OPEN, APART = 0.3, 0.1
"""Bias that gates begin with, so that most are open, and deviation of their weights, so that clips differ from the first step on."""


class SoftGate(nn.Module):
    """One clip's gates for a layer: zero where a branch of it is skipped, else what the branch is scaled by.

    Args:
        features: channels of the layer's input times its frames.
        branches: of the layer, of every kind that it has: temporal ones, channel ones.

    Source: VA-RED2, Eq. 4.
    """

    def __init__(self, features: int, branches: Sequence[int]) -> None:
        super().__init__()
        self.branches = tuple(branches)
        self.enter = nn.Linear(features, HIDDEN)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.leave = nn.Linear(HIDDEN, sum(branches))
        nn.init.normal_(self.leave.weight, std=APART)
        nn.init.constant_(self.leave.bias, OPEN)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Gates of every kind of branches, (n, branches) each, in [0, 1).

        Args:
            x: the layer's input, (n, c, t, h, w) or (n, c, h, w).
        """
        hidden = torch.tanh(self.norm(self.enter(x.mean((-2, -1)).flatten(1))))
        made = torch.tanh(self.leave(hidden)).clamp(min=0)
        return torch.split(made, list(self.branches), 1)
