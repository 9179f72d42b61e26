"""The edge map from which the `tiny` teacher paints a frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey value (ITU-R BT.601)."""
HALF = 0.5
"""Gradient, per two pixels, that comes out as 0, halfway between none and the strongest."""


class Edges(nn.Module):
    """Strength of a picture's edges: Sobel's gradient of its grey values. Nothing is learnt."""

    def __init__(self) -> None:
        super().__init__()
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        both = torch.stack([across, across.T])
        grey = torch.tensor(LUMA).reshape(1, 3, 1, 1)
        self.register_buffer("kernel", both.unsqueeze(1) * grey, persistent=False)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in [0, 1] -> (n, 1, h, w) in [-1, 1): -1 where nothing changes."""
        moved = F.conv2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), self.kernel)  # type: ignore[arg-type]
        strength = (moved.square().sum(1, keepdim=True) + 1e-6).sqrt()
        return (strength - HALF) / (strength + HALF)
