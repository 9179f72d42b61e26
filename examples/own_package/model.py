"""A routed model that uses the package's operator: tiles that show much take a second layer."""

from __future__ import annotations

from typing import Any

import torch
from edgeflow_own.channel_shift import channel_shift
from torch import Tensor, nn

from edgeflow.flow import Axis, Flow, Image, RoutedModule


class Shifting(RoutedModule):
    """A picture in, a picture out; `depth` is decided for every tile by a map of scores."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    depth = Axis(1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.judge = nn.Conv2d(3, 2, 3, 4, 1)
        self.first, self.second = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.last = nn.Conv2d(8, 3, 3, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        """Judge the frame, then work tile by tile."""
        scores = f.call(self.judge, frame)
        tiles = f.tile(frame, size=32, halo=4)
        route = f.route(tiles, depth=scores)
        x = f.call(self.begin, tiles)
        x = f.call(self.deepen, x, when=route.depth == 2)
        return f.stitch(f.call(self.finish, x))

    def begin(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, 8, h, w)."""
        return channel_shift(torch.relu(self.first(x)), 4)

    def deepen(self, x: Tensor) -> Tensor:
        """(n, 8, h, w) -> the same."""
        return x + torch.relu(self.second(x))

    def finish(self, x: Tensor) -> Tensor:
        """(n, 8, h, w) -> (n, 3, h, w) in [0, 1]."""
        return torch.sigmoid(self.last(x))


def build() -> Shifting:
    """The model, with weights that are always the same."""
    torch.manual_seed(0)
    return Shifting().eval()
