"""Brightens a dark picture, with a deeper network for the tiles that need it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import Axis, Flow, Image, Made, RoutedModule, Task

PRESETS = {"small": 16, "tiny": 4}
"""Channels, by preset."""
TILE, HALO = 64, 4


class Brighten(RoutedModule):
    """One picture for every frame.

    Args:
        channels: of the network.
        deepest: how many convolutions the deep route takes beyond the shallow one.
    """

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    task = Task((0,), (Made("image"),))
    deep = Axis(False, True)

    def __init__(self, channels: int, deepest: int) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 2, 3, 2, 1)
        self.enter = nn.Conv2d(3, channels, 3, 1, 1)
        self.deepen = nn.Sequential(
            *(layer for _ in range(deepest) for layer in (nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1)))
        )
        self.leave = nn.Conv2d(channels, 3, 3, 1, 1)

    def flow(self, f: Flow, frame: Any) -> Any:
        """A decision for every tile."""
        scores = f.call(self.look, frame)
        tiles = f.tile(frame, size=TILE, halo=HALO)
        route = f.route(tiles, deep=scores)
        x = f.call(self.enter, tiles)
        x = f.call(self.deepen, x, when=route.deep)
        return f.stitch(f.call(self.finish, tiles, x))

    def look(self, frame: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> a map of two scores."""
        scores: torch.Tensor = self.see(
            F.interpolate(frame, size=(48, 64), mode="bilinear", align_corners=False)
        )
        return scores

    def finish(self, frame: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """What is added to the picture."""
        added: torch.Tensor = self.leave(x)
        return frame + added


class WholeFrame(RoutedModule):
    """The full static model: no decision, no tiles, always deep.

    Args:
        model: the routed model whose network it runs.
    """

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)

    def __init__(self, model: Brighten) -> None:
        super().__init__()
        self.model = model

    def flow(self, f: Flow, frame: Any) -> Any:
        """One call."""
        return f.call(self.brighten, frame)

    def brighten(self, frame: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> the same."""
        return self.model.finish(frame, self.model.deepen(self.model.enter(frame)))


def build(preset: str, variant: str) -> Brighten:
    """An untrained model in eval mode; `variant` says how deep it is."""
    return Brighten(PRESETS[preset], {"deep": 4, "deeper": 8}[variant]).eval()
