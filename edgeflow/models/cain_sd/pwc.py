"""PWC-Net, the motion estimate.

Source: Sun et al., PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume
(CVPR 2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.ops.cost_volume import cost_volume
from edgeflow.ops.warp import warp

FLOW_SCALE = 20.0
"""The network's flow is in units of this many pixels."""


class Level(nn.Sequential):
    """One pyramid level: three 3x3 convolutions, the first with stride 2."""

    def __init__(self, width_in: int, width: int) -> None:
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [nn.Conv2d(width if i else width_in, width, 3, 1 if i else 2, 1), nn.LeakyReLU(0.1)]
        super().__init__(*layers)


class Decoder(nn.Module):
    """Flow at one pyramid level, from a cost volume and what the coarser level found."""

    def __init__(self, radius: int, features: int, coarser: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.radius = radius
        inputs = (2 * radius + 1) ** 2
        if coarser:
            self.up_flow = nn.ConvTranspose2d(2, 2, 4, 2, 1)
            self.up_features = nn.ConvTranspose2d(coarser, 2, 4, 2, 1)
            inputs += features + 4
        totals = [inputs + sum(widths[:i]) for i in range(len(widths) + 1)]
        self.convs = nn.ModuleList(nn.Conv2d(t, w, 3, 1, 1) for t, w in zip(totals, widths, strict=False))
        self.flow = nn.Conv2d(totals[-1], 2, 3, 1, 1)
        self.outputs = totals[-1]

    def forward(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        coarser: tuple[torch.Tensor, torch.Tensor] | None,
        warp_scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, c, h, w) features of both frames -> flow (n, 2, h, w) and features (n, c', h, w)."""
        if coarser is None:
            x = F.leaky_relu(cost_volume(first, second, self.radius), 0.1)
        else:
            flow, features = self.up_flow(coarser[0]), self.up_features(coarser[1])
            matches = cost_volume(first, warp(second, flow * warp_scale), self.radius)
            x = torch.cat([F.leaky_relu(matches, 0.1), first, flow, features], 1)
        for conv in self.convs:
            x = torch.cat([F.leaky_relu(conv(x), 0.1), x], 1)
        return self.flow(x), x


class PWC(nn.Module):
    """The flow estimator.

    Args:
        channels: of the pyramid's levels, finest (half size) first.
        finest: level at which the flow is read out; 2 (quarter size) as published.
        widths: of a decoder's dense convolutions.
        refiner: widths of the dilated refiner.
        radius: of the cost volume.
    """

    DILATIONS = (1, 2, 4, 8, 16, 1)

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 32, 64, 96, 128, 196),
        finest: int = 2,
        widths: tuple[int, ...] = (128, 128, 96, 64, 32),
        refiner: tuple[int, ...] = (128, 128, 128, 96, 64, 32),
        radius: int = 4,
    ) -> None:
        super().__init__()
        self.finest, self.radius = finest, radius
        self.levels = nn.ModuleList(Level(a, b) for a, b in zip((3, *channels), channels, strict=False))
        self.decoders = nn.ModuleList()
        coarser = 0
        for level in range(len(channels), finest - 1, -1):
            decoder = Decoder(radius, channels[level - 1], coarser, widths)
            self.decoders.append(decoder)
            coarser = decoder.outputs
        layers: list[nn.Module] = []
        for i, (width, dilation) in enumerate(zip(refiner, self.DILATIONS, strict=True)):
            inputs = refiner[i - 1] if i else coarser
            layers += [nn.Conv2d(inputs, width, 3, 1, dilation, dilation), nn.LeakyReLU(0.1)]
        self.refiner = nn.Sequential(*layers, nn.Conv2d(refiner[-1], 2, 3, 1, 1))
        self._start()

    def _start(self) -> None:
        """Random weights that keep the signal's size through the many layers, and almost no flow."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, 0.1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.endswith("flow.weight") or weight is self.refiner[-1].weight:
                    weight.mul_(0.01)

    @property
    def multiple(self) -> int:
        """Input sizes are multiples of this."""
        return int(2 ** len(self.levels))

    def pyramid(self, frame: torch.Tensor) -> list[torch.Tensor]:
        """Features, finest first: (n, 3, h, w) -> (n, c, h / 2, w / 2), ..."""
        found = []
        for level in self.levels:
            frame = level(frame)
            found.append(frame)
        return found

    def match(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> torch.Tensor:
        """Flow from the first to the second pyramid's frame: (n, 2, h / 4, w / 4) for finest level 2.

        In units of 20 pixels of the frame, x then y.
        """
        return self.matches(first, second)[-1]

    def matches(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> list[torch.Tensor]:
        """Like `match`, of every level that finds a flow, coarsest first; only the last is refined."""
        coarser, flows = None, []
        for i, decoder in enumerate(self.decoders):
            level = len(self.levels) - i
            scale = FLOW_SCALE / 2**level
            coarser = decoder(first[level - 1], second[level - 1], coarser, scale)
            flows.append(coarser[0])
        assert coarser is not None
        flow, features = coarser
        return [*flows[:-1], flow + self.refiner(features)]

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor) -> torch.Tensor:
        """Flow from frame0 to frame1, in pixels, at full size: (n, 3, h, w) twice -> (n, 2, h, w)."""
        return self.to_pixels(self.match(self.pyramid(frame0), self.pyramid(frame1)))

    def both(self, frame0: torch.Tensor, frame1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Flow in both directions, from one pyramid of each frame."""
        n = frame0.shape[0]
        here = self.pyramid(torch.cat([frame0, frame1]))
        there = [torch.cat([level[n:], level[:n]]) for level in here]
        flows = self.to_pixels(self.match(here, there))
        return flows[:n], flows[n:]

    def to_pixels(self, flow: torch.Tensor) -> torch.Tensor:
        """Scale and upsample the network's flow to pixels of its input."""
        factor = float(2**self.finest)
        return F.interpolate(flow * FLOW_SCALE, scale_factor=factor, mode="bilinear", align_corners=False)
