"""A model with one layer that 8 bits cannot hold, between layers that they can."""

from typing import Any

import torch
from torch import nn

from edgeflow.flow import Flow, Image, RoutedModule, Tensor


def _plain(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, 8, 3, 1, 1), nn.LeakyReLU(), nn.Conv2d(8, outside, 3, 1, 1))


class Uneven(RoutedModule):
    """The channels of the layer `uneven` differ thousandfold in size until they are scaled back."""

    inputs = (Image("frame", 16, 24),)
    outputs = (Tensor("features", (4, 16, 24)),)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.uneven, self.after = _plain(3, 4), nn.Conv2d(4, 4, 3, 1, 1), _plain(4, 4)
        self.register_buffer("sizes", torch.tensor([1e4, 1.0, 1.0, 1.0]).reshape(1, 4, 1, 1))
        self.uneven.weight.data *= self.sizes.reshape(4, 1, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        return f.call(self.level, frame)

    def level(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.uneven(self.before(x)) / self.sizes)
