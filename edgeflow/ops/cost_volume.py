"""Cost volume: how well each pixel matches the pixels around it in another feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def cost_volume(first: torch.Tensor, second: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean over channels of `first` times `second` shifted by up to `radius` pixels.

    Args:
        first: (n, c, h, w) float.
        second: (n, c, h, w) float; zero outside.
        radius: largest shift, in pixels.

    Returns:
        (n, (2 * radius + 1) ** 2, h, w): shifts row by row, from (-radius, -radius).

    Source: PWC-Net, section 3 (cost volume layer).
    """
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius, radius, radius, radius))
    span = range(2 * radius + 1)
    rows = [
        (first * padded[:, :, dy : dy + height, dx : dx + width]).mean(1, keepdim=True)
        for dy in span
        for dx in span
    ]
    return torch.cat(rows, 1)
