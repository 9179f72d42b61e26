"""The full static CAIN, cut into the same tiles as the routed model: the other form of the baseline."""

from __future__ import annotations

from typing import Any

from edgeflow.flow import Flow, Image, RoutedModule
from edgeflow.models.cain_sd import CAINSD
from edgeflow.models.cain_sd.model import GRID


class FullTiles(RoutedModule):
    """No router, every tile at full scale and depth, in one call."""

    inputs = (Image("frame0"), Image("frame1"))
    outputs = (Image("middle"),)

    def __init__(self, model: CAINSD) -> None:
        super().__init__()
        self.model = model

    def flow(self, f: Flow, frame0: Any, frame1: Any) -> Any:
        preset = self.model.preset
        tiles = f.tile(frame0, frame1, size=preset.tile, halo=preset.halo, multiple=GRID)
        return f.stitch(f.call(self.interpolate, tiles))

    def interpolate(self, frame0: Any, frame1: Any) -> Any:
        return self.model.cain.exits(frame0, frame1)[-1]
