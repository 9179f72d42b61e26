"""A model whose eight-bit products overflow 16 bits where they are added in pairs."""

from __future__ import annotations

import torch
from torch import nn

from edgeflow.flow import Image, RoutedModule, Tensor


class Bright(RoutedModule):
    """Convolutions that add up bright pixels: all weights are positive and about as large as each other."""

    inputs = (Image("frame", 16, 24),)
    outputs = (Tensor("sums", (8, 16, 24)),)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, 1, 1)
        self.second = nn.Conv2d(8, 8, 3, 1, 1)
        for layer in (self.first, self.second):
            nn.init.uniform_(layer.weight, 0.8, 1.0)

    def flow(self, f, frame):
        return f.call(self.add, frame)

    def add(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())
