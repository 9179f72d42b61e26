"""RIFE's refinement: details that warping lost, added by a U-Net that sees features of both frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeflow.models.rife.ifnet import Warped, convolution, halved_flow, warped

WIDTH = 16
"""Channels of the finest features."""


class Halved(nn.Module):
    """Two convolutions, of which the first halves the picture."""

    def __init__(self, planes: int, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(planes, width, 2), convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, planes, h, w) -> (n, width, h / 2, w / 2)."""
        made: Tensor = self.conv2(self.conv1(x))
        return made


class ContextNet(nn.Module):
    """Features of one frame at 1/2 to 1/16 of its size, where the flow takes them."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH)
        for level in range(1, 5):
            setattr(self, f"conv{level}", Halved(widths[level - 1], widths[level]))

    def forward(self, frame: Tensor, flow: Tensor) -> list[Tensor]:
        """Four maps, finest first.

        Args:
            frame: (n, 3, h, w), sides multiples of 16.
            flow: towards it, (n, 2, h, w) in pixels.
        """
        x, found = frame, []
        for level in range(1, 5):
            halved: nn.Module = getattr(self, f"conv{level}")
            x, flow = halved(x), halved_flow(flow)
            found.append(warped(x, flow))
        return found


class UNet(nn.Module):
    """The residual of a picture, from all that is known of it."""

    down0: Halved
    up0: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        for level, (planes, width) in enumerate(((17, 2), (4, 4), (8, 8), (16, 16))):
            setattr(self, f"down{level}", Halved(planes if level == 0 else planes * WIDTH, width * WIDTH))
        for level, (planes, width) in enumerate(((32, 8), (16, 4), (8, 2), (4, 1))):
            up = nn.ConvTranspose2d(planes * WIDTH, width * WIDTH, 4, 2, 1)
            setattr(self, f"up{level}", nn.Sequential(up, nn.PReLU(width * WIDTH)))
        self.conv = nn.Conv2d(WIDTH, 3, 3, 1, 1)

    def forward(self, seen: Tensor, context: list[Tensor]) -> Tensor:
        """(n, 3, h, w) in (0, 1).

        Args:
            seen: both frames, both warped frames, blend and flow, (n, 17, h, w).
            context: of both frames together, four maps, finest first.
        """
        levels = [self.down0(seen)]
        for level in range(1, 4):
            down: nn.Module = getattr(self, f"down{level}")
            levels.append(down(torch.cat((levels[-1], context[level - 1]), 1)))
        x = self.up0(torch.cat((levels[3], context[3]), 1))
        for level in range(1, 4):
            up: nn.Module = getattr(self, f"up{level}")
            x = up(torch.cat((x, levels[3 - level]), 1))
        return torch.sigmoid(self.conv(x))


class Refiner(nn.Module):
    """Adds to what the flow network found.

    Source: *RIFE*, section 3.1 (RefineNet), in the widths of release 4.0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.contextnet, self.unet = ContextNet(), UNet()

    def forward(self, frame0: Tensor, frame1: Tensor, found: Warped) -> Tensor:
        """The refined picture, (n, 3, h, w) in [0, 1]; frames as the flow network saw them."""
        context0 = self.contextnet(frame0, found.flow[:, :2])
        context1 = self.contextnet(frame1, found.flow[:, 2:])
        context = [torch.cat(maps, 1) for maps in zip(context0, context1, strict=True)]
        seen = torch.cat((frame0, frame1, found.frame0, found.frame1, found.blend, found.flow), 1)
        residual = self.unet(seen, context) * 2 - 1
        refined: Tensor = (found.picture() + residual).clamp(0, 1)
        return refined
