"""A model that samples a grid, as a warp by optical flow does."""

from typing import Any

import torch
from torch import nn

from edgeflow.flow import Flow, RoutedModule, Tensor


class Warp(nn.Module):
    """Moves features by what it makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.move = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 14), indexing="ij")
        grid = torch.stack([columns, rows], -1)[None] + self.move(x).permute(0, 2, 3, 1) * 0.1
        return nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=True)


class Warping(RoutedModule):
    """One static route."""

    inputs = (Tensor("x", (4, 9, 14)),)
    outputs = (Tensor("y", (4, 9, 14)),)

    def __init__(self) -> None:
        super().__init__()
        self.warp = Warp()

    def flow(self, f: Flow, x: Any) -> Any:
        return f.call(self.warp, x)
