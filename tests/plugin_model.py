"""Models that need every operator that has a plugin."""

from typing import Any

import torch
from torch import nn

from edgeflow.flow import Flow, Image, RoutedModule, Tensor
from edgeflow.ops.adabd import AdaBD
from edgeflow.ops.cost_volume import cost_volume
from edgeflow.ops.deform_conv import deform_conv2d


class Body(nn.Module):
    """AdaBD, a deformable convolution by the same offsets, then how well the two match."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(8, 27, 3, padding=1)
        self.blend = AdaBD(8)
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3) * 0.1)
        self.mix = nn.Conv2d(9, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.look(x)
        offset, mask = seen[:, :18], seen[:, 18:].sigmoid()
        blended = self.blend(x, x.flip(2), offset, mask)
        moved = deform_conv2d(blended, offset, self.weight, padding=1, mask=mask)
        made: torch.Tensor = self.mix(cost_volume(blended, moved, 1))
        return made


class Deforming(RoutedModule):
    """One static route."""

    inputs = (Tensor("x", (8, 12, 20)),)
    outputs = (Tensor("y", (8, 12, 20)),)

    def __init__(self) -> None:
        super().__init__()
        self.body = Body()

    def flow(self, f: Flow, x: Any) -> Any:
        return f.call(self.body, x)


class DeformingPicture(RoutedModule):
    """All of them between convolutions, from a picture."""

    inputs = (Image("frame", 16, 24),)
    outputs = (Tensor("y", (8, 16, 24)),)

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.body = nn.Conv2d(3, 8, 3, padding=1), Body()
        self.leave = nn.Sequential(nn.LeakyReLU(), nn.Conv2d(8, 8, 3, padding=1))

    def flow(self, f: Flow, frame: Any) -> Any:
        return f.call(self.paint, frame)

    def paint(self, frame: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.leave(self.body(self.enter(frame * 2 - 1)))
        return made


class Matching(RoutedModule):
    """The cost volume alone, which is no deformable operator."""

    inputs = (Tensor("x", (8, 12, 20)),)
    outputs = (Tensor("y", (8, 12, 20)),)

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(9, 8, 1)

    def flow(self, f: Flow, x: Any) -> Any:
        return f.call(self.match, x)

    def match(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.leave(cost_volume(x, self.enter(x), 1))
        return made
