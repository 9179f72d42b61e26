"""RIFE as a routed module: how every tile gets its picture is decided by how wrong each way would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.flow import Axis, Flow, Image, Made, RoutedModule, Scored, Task
from edgeflow.flow import Tensor as Number
from edgeflow.ir.errors import FlowError
from edgeflow.ir.rules import Priced, Spread
from edgeflow.ir.tiles import TileGrid
from edgeflow.models.rife.ifnet import SPAN, WIDTHS, IFNet, Warped
from edgeflow.models.rife.refiner import Refiner
from edgeflow.models.rife.router import Router

VARIANTS = {"flow": ("average", "half", "full"), "refined": ("average", "half", "refined")}
"""Ways to a picture, cheapest first. The last is the network that a whole frame may get instead of tiles."""
HALO = 16
"""Pixels of a tile beyond its patch at every seam."""
COSTS = {"flow": (0.02, 0.35, 1.0), "refined": (0.02, 0.22, 1.0)}
"""Time of every way over that of the last: by FLOPs half the size takes a quarter, measured 0.35 (ONNX Runtime) and 0.40 (OpenVINO), since it samples at full size, too."""
STRADDLED = 1.7
"""Work of tiles over what parts of a frame say of them: what moves lies across the seams of tiles that are larger than parts."""
PRICE = 1.0
"""Squared levels, of 255, that a patch's share of a whole frame must save."""


@dataclass(frozen=True)
class Preset:
    """A model's size.

    Attributes:
        widths: channels of the flow network's blocks.
        tile: side of a tile, in pixels: smaller ones let more of a frame be skipped, larger ones compute less twice.
    """

    widths: tuple[int, ...]
    tile: int

    @property
    def overlap(self) -> float:
        """Pixels of a frame's tiles over those of the frame, at 1280x720."""
        grid = TileGrid(720, 1280, self.tile, HALO, SPAN)
        return len(grid) * self.tile**2 / (grid.height * grid.width)


PUBLISHED = "4.0"
PRESETS = {PUBLISHED: Preset(WIDTHS, 192), "tiny": Preset((16, 12, 8, 8), 128)}
"""By name: release 4.0, and one that is small enough for tests; no weights were trained for that."""


INPUTS = (Image("frame0"), Image("frame1"), Number("time", (1,)))
TASK = Task((0, 1), (Made("image", 0.5),), timed=True)


class RIFE(RoutedModule):
    """The picture at a time between two frames.

    Tiles of which the average of both frames is good enough get that; others the flow network, at half or at full
    size. A frame that moves nearly everywhere is computed whole.

    Args:
        preset: its size.
        variant: `flow`, or `refined`, whose dearest way has the refinement, too.
    """

    inputs = INPUTS
    outputs = (Image("between"),)
    judged_in_tiles = True
    task = TASK
    extent = Axis("tiles", "whole")

    def __init__(self, preset: Preset, variant: str = "flow") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise FlowError(f"RIFE has the variants {', '.join(VARIANTS)}, got {variant!r}")
        self.preset, self.variant, ways = preset, variant, VARIANTS[variant]
        self.way = Axis(*ways)
        self.router = Router(len(ways))
        self.network = Network(preset.widths, refined=variant == "refined")

    def flow(self, f: Flow, frame0: Any, frame1: Any, time: Any) -> Any:
        """Guess, decide, and make each tile's picture, or the frame's."""
        costs = tuple(cost * self.preset.overlap for cost in COSTS[self.variant])
        scores, parts = f.call(self.router, frame0, frame1)
        straddled = tuple(STRADDLED * cost for cost in costs)
        frame = f.route(frame0, extent=Scored(Spread(PRICE, straddled), parts))
        tiles = f.tile(frame0, frame1, time, size=self.preset.tile, halo=HALO, multiple=SPAN)
        route = f.route(tiles, way=Scored(Priced(PRICE, costs), scores))
        parts = frame.extent == "tiles"
        made = f.call(self.by_average, tiles, when=parts, otherwise=None)
        for way in self.way.values[1:]:
            here = parts & (route.way == way)
            made = f.call(getattr(self, f"by_{way}"), tiles, when=here, otherwise=made)
        return f.call(self.whole, frame0, frame1, time, when=~parts, otherwise=f.stitch(made))

    def by_average(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """(n, 3, h, w) twice and (n, 1) -> (n, 3, h, w): both frames, blended as the time says."""
        share = time[:, :, None, None]
        return frame0 * (1 - share) + frame1 * share

    def by_half(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """By the flow of frames of half the size, for a quarter of the work."""
        found: Warped = self.network.ifnet.at_half(frame0, frame1, time)
        return found.picture()

    def by_full(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """By the flow network, without refinement."""
        made: Tensor = self.network(frame0, frame1, time)
        return made

    def by_refined(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """By the flow network, and refined."""
        made: Tensor = self.network(frame0, frame1, time)
        return made

    def whole(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """The dearest way, on a whole frame of any size."""
        made: Tensor = self.network.of_any_size(frame0, frame1, time)
        return made


class Network(nn.Module):
    """The published network.

    Args:
        widths: channels of the flow network's blocks.
        refined: with its refinement.
    """

    def __init__(self, widths: Sequence[int], refined: bool) -> None:
        super().__init__()
        self.ifnet = IFNet(widths)
        self.refiner = Refiner() if refined else None

    def forward(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """(n, 3, h, w) twice, sides multiples of 32, and (n, 1) -> (n, 3, h, w)."""
        found: Warped = self.ifnet(frame0, frame1, time)
        if self.refiner is None:
            return found.picture()
        refined: Tensor = self.refiner(frame0, frame1, found)
        return refined

    def of_any_size(self, frame0: Tensor, frame1: Tensor, time: Tensor) -> Tensor:
        """The same for sides of any length: borders are repeated to the next multiple of 32."""
        height, width = frame0.shape[-2:]
        reach = (0, -width % SPAN, 0, -height % SPAN)
        padded = [F.pad(frame, reach, mode="replicate") for frame in (frame0, frame1)]
        made: Tensor = self(*padded, time)
        return made[..., :height, :width]


class WholeFrame(RoutedModule):
    """The published network on whole frames, with which a routed one is compared."""

    inputs = INPUTS
    outputs = (Image("between"),)
    task = TASK

    def __init__(self, model: RIFE) -> None:
        super().__init__()
        self.network = model.network

    def flow(self, f: Flow, frame0: Any, frame1: Any, time: Any) -> Any:
        """One call."""
        return f.call(self.network.of_any_size, frame0, frame1, time)


def build(preset: str = PUBLISHED, variant: str = "flow") -> RIFE:
    """An untrained RIFE in eval mode.

    Raises:
        FlowError: no such preset or variant.
    """
    if preset not in PRESETS:
        raise FlowError(f"RIFE has the presets {', '.join(PRESETS)}, got {preset!r}")
    return RIFE(PRESETS[preset], variant).eval()
