"""Backward warping by optical flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample `image` where `flow` points; zero where any sampled corner lies outside.

    Args:
        image: (n, c, h, w) float.
        flow: (n, 2, h, w) float, x then y, in pixels of `image`.

    Returns:
        (n, c, h, w), bilinear.

    Source: PWC-Net, section 3 (warping layer). The validity mask needs no second sampling: a
    corner lies outside exactly where a coordinate does.
    """
    height, width = image.shape[-2:]
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device)
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).unsqueeze(1)
    x, y = xs + flow[:, 0], ys + flow[:, 1]
    grid = torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], dim=3)
    sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    slack = 1e-3
    inside = (x > -slack) & (x < width - 1 + slack) & (y > -slack) & (y < height - 1 + slack)
    return sampled * inside.unsqueeze(1).to(image.dtype)
