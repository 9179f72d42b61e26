"""CAIN-SD as a routed module, its presets, and the static model it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from edgeflow.flow import Axis, Flow, Image, RoutedModule
from edgeflow.ir.errors import FlowError
from edgeflow.models.cain_sd.cain import CAIN
from edgeflow.models.cain_sd.carn import CARN
from edgeflow.models.cain_sd.finder import SDFinder
from edgeflow.models.cain_sd.pwc import PWC

GRID = 8
"""Tiles begin at multiples of so many pixels: the interpolator works on groups of 8. At scales 2 and 4 its groups
span 16 and 32 pixels of the frame; tiles on that grid would be 24 instead of 18 at 720p."""


@dataclass(frozen=True)
class Preset:
    """Sizes of the networks: keyword arguments of each, and of the tiling.

    Attributes:
        cain: of the interpolator.
        carn: of the super-resolver.
        pwc: of the flow estimator.
        canvas: (short, long) side of the frames that the SD-finder sees, in pixels.
        tile: side of a tile, in pixels.
        halo: pixels of a tile beyond its patch at every seam.
    """

    cain: dict[str, Any] = field(default_factory=dict)
    carn: dict[str, Any] = field(default_factory=dict)
    pwc: dict[str, Any] = field(default_factory=dict)
    canvas: tuple[int, int] = (192, 384)
    tile: int = 256
    halo: int = 8


PRESETS = {
    "full": Preset(),
    "small": Preset(
        cain={"channels": 96, "blocks": 1, "unshuffle": 4, "residual": True},
        carn={"width": 32, "blocks": 1, "units": 2, "residual": True, "fold": 2},
        pwc={
            "channels": (8, 16, 24, 32, 48),
            "finest": 3,
            "widths": (32, 32, 24, 16, 8),
            "refiner": (32, 32, 24, 16, 16, 8),
            "radius": 3,
        },
        canvas=(192, 320),
    ),
    "tiny": Preset(
        cain={"channels": 16, "blocks": 1, "reduction": 4, "residual": True},
        carn={"width": 8, "groups": 2, "blocks": 1, "units": 1, "residual": True},
        pwc={
            "channels": (4, 8, 8),
            "finest": 2,
            "widths": (8, 4),
            "refiner": (8, 8, 4, 4, 4, 4),
            "radius": 1,
        },
        canvas=(64, 96),
        tile=64,
        halo=4,
    ),
}


class CAINSD(RoutedModule):
    """Interpolates the frame between two, choosing a scale and a depth for every tile.

    Args:
        preset: network sizes.
        variant: `SD`, `S` (scale only, full depth) or `D` (depth only, full scale).
    """

    inputs = (Image("frame0"), Image("frame1"))
    outputs = (Image("middle"),)
    judged_in_tiles = True
    scale = Axis(1, 2, 4)
    exit = Axis(1, 2, 3, 4, 5)

    def __init__(self, preset: Preset, variant: str = "SD") -> None:
        super().__init__()
        if variant not in ("S", "D", "SD"):
            raise FlowError(f"CAIN-SD has the variants S, D and SD, got {variant!r}")
        self.preset, self.variant = preset, variant
        self.cain = CAIN(**preset.cain)
        self.carn = CARN(**preset.carn)
        self.sd_finder = SDFinder(
            PWC(**preset.pwc),
            preset.canvas,
            scales=len(self.scale.values) if "S" in variant else 0,
            depths=len(self.exit.values) if "D" in variant else 0,
        )

    def flow(self, f: Flow, frame0: Any, frame1: Any) -> Any:
        """CAIN-SD, Eq. 3-5 and 8-10."""
        logits = f.call(self.sd_finder, frame0, frame1)
        tiles = f.tile(frame0, frame1, size=self.preset.tile, halo=self.preset.halo, multiple=GRID)
        names = {"S": ("scale",), "D": ("exit",), "SD": ("scale", "exit")}[self.variant]
        route = f.route(tiles, **dict(zip(names, logits, strict=True)))
        scale = route.scale if "S" in self.variant else 1
        x, base = f.call(self.head, tiles, scale=scale)
        first = x
        for depth, group in enumerate(self.cain.groups, start=1):
            go_on = route.exit >= depth if "D" in self.variant else True
            x = f.call(group, x, when=go_on)
        return f.stitch(f.call(self.tail, x, first, base, scale=scale))

    def head(
        self, frame0: torch.Tensor, frame1: torch.Tensor, scale: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Downscale two tiles (bicubic) and enter the interpolator at that scale."""
        if scale > 1:
            frame0, frame1 = (
                F.interpolate(x, scale_factor=1 / scale, mode="bicubic", align_corners=False)
                for x in (frame0, frame1)
            )
        return self.cain.head(frame0, frame1)

    def tail(self, x: torch.Tensor, first: torch.Tensor, base: torch.Tensor, scale: int) -> torch.Tensor:
        """Leave the interpolator and super-resolve back to the tile's size."""
        picture = self.cain.tail(x, first, base)
        return self.carn(picture, scale) if scale > 1 else picture


class WholeFrame(RoutedModule):
    """The full static model that savings are measured against: no router, no tiles, full depth.

    Args:
        model: the routed model whose interpolator it runs.
        multiple: frames are padded to a multiple of this many pixels; 128 as published.
    """

    inputs = (Image("frame0"), Image("frame1"))
    outputs = (Image("middle"),)

    def __init__(self, model: CAINSD, multiple: int = 8) -> None:
        super().__init__()
        self.cain, self.multiple = model.cain, multiple

    def flow(self, f: Flow, frame0: Any, frame1: Any) -> Any:
        """One call."""
        return f.call(self.interpolate, frame0, frame1)

    def interpolate(self, frame0: torch.Tensor, frame1: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) twice -> the same."""
        middle: torch.Tensor = self.cain(frame0, frame1, self.multiple)
        return middle


def build(preset: str = "small", variant: str = "SD") -> CAINSD:
    """An untrained CAIN-SD in eval mode.

    Raises:
        FlowError: no such preset.
    """
    if preset not in PRESETS:
        raise FlowError(f"CAIN-SD has the presets {', '.join(PRESETS)}, got {preset!r}")
    return CAINSD(PRESETS[preset], variant).eval()
