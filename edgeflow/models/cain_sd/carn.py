"""CARN-M, the super-resolver that brings downscaled tiles back to size.

Source: Ahn et al., Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual
Network (ECCV 2018).
"""

from __future__ import annotations

from math import log2

import torch
import torch.nn.functional as F
from torch import nn

RGB_MEAN = (0.4488, 0.4371, 0.4040)


class SharedUnit(nn.Module):
    """Two grouped 3x3 convolutions and a 1x1 around a skip; a block uses one unit several times."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.second = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width, h, w) -> the same."""
        return F.relu(self.mix(F.relu(self.second(F.relu(self.first(x))))) + x)


class Cascade(nn.Module):
    """Steps whose outputs are all joined by a 1x1 convolution after each step."""

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.joins = nn.ModuleList(nn.Conv2d(width * (i + 2), width, 1) for i in range(steps))

    def cascade(self, x: torch.Tensor, steps: list[nn.Module]) -> torch.Tensor:
        """(n, width, h, w) -> the same."""
        seen = y = x
        for step, join in zip(steps, self.joins, strict=True):
            seen = torch.cat([seen, step(y)], 1)
            y = F.relu(join(seen))
        return y


class CascadingBlock(Cascade):
    """A cascade over several uses of one shared unit."""

    def __init__(self, width: int, groups: int, units: int) -> None:
        super().__init__(width, units)
        self.unit = SharedUnit(width, groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width, h, w) -> the same."""
        return self.cascade(x, [self.unit] * len(self.joins))


class Upsampler(nn.Sequential):
    """Grouped convolutions and pixel shuffles: (n, width, h, w) -> (n, width, scale h, scale w)."""

    def __init__(self, width: int, groups: int, scale: int) -> None:
        steps, factor = (1, 3) if scale == 3 else (int(log2(scale)), 2)
        layers: list[nn.Module] = []
        for _ in range(steps):
            layers += [nn.Conv2d(width, width * factor**2, 3, padding=1, groups=groups), nn.ReLU()]
            layers += [nn.PixelShuffle(factor)]
        super().__init__(*layers)


class CARN(Cascade):
    """The super-resolver.

    Args:
        scales: upscaling factors it has upsamplers for.
        width: channels; 64 as published.
        groups: of the 3x3 convolutions; 4 as published.
        blocks: cascading blocks; 3 as published.
        units: uses of each block's shared unit; 3 as published.
        residual: add the bicubically upscaled input to the output, not as published. A narrow
            network then need only say what bicubic upscaling misses.
        fold: work on `fold` x `fold` pixels per position and enlarge in the last convolution
            (sub-pixel convolution, Shi et al. 2016), not as published. Few channels at full size
            keep a machine waiting for memory: on a CPU this computes the same FLOPs several
            times faster. 0 for the published upsamplers.
    """

    mean: torch.Tensor

    def __init__(
        self,
        scales: tuple[int, ...] = (2, 4),
        width: int = 64,
        groups: int = 4,
        blocks: int = 3,
        units: int = 3,
        residual: bool = False,
        fold: int = 0,
    ) -> None:
        super().__init__(width, blocks)
        self.residual, self.fold = residual, fold
        self.register_buffer("mean", torch.tensor(RGB_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.entry = nn.Conv2d(3 * max(fold, 1) ** 2, width, 3, padding=1)
        self.blocks = nn.ModuleList(CascadingBlock(width, groups, units) for _ in range(blocks))
        if fold:
            self.exits = nn.ModuleDict(
                {str(s): nn.Conv2d(width, 3 * (s * fold) ** 2, 3, padding=1) for s in scales}
            )
        else:
            self.upsamplers = nn.ModuleDict({str(s): Upsampler(width, groups, s) for s in scales})
            self.exit = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, scale: int) -> torch.Tensor:
        """Upscale a picture: (n, 3, h, w) -> (n, 3, scale h, scale w), not clamped."""
        centred = F.pixel_unshuffle(x - self.mean, self.fold) if self.fold else x - self.mean
        features = self.cascade(self.entry(centred), list(self.blocks))
        if self.fold:
            detail = F.pixel_shuffle(self.exits[str(scale)](features), scale * self.fold)
        else:
            detail = self.exit(self.upsamplers[str(scale)](features))
        if self.residual:
            return detail + F.interpolate(x, scale_factor=float(scale), mode="bicubic", align_corners=False)
        return detail + self.mean
