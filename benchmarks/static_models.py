"""The full static models that a routed model is measured against: its family's, and for CAIN-SD the same tiles, too."""

from __future__ import annotations

from typing import Any

from edgeflow.flow import Flow, Image, RoutedModule
from edgeflow.ir.tiles import TileGrid
from edgeflow.models import family
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


def full_forms(name: str, model: RoutedModule, size: tuple[int, int]) -> dict[str, tuple[RoutedModule, int]]:
    """Forms of the full static model, and how often each runs for a frame (height, width)."""
    forms = {"whole": (full_static(name, model), 1)}
    if isinstance(model, CAINSD):
        tiles = TileGrid(*size, model.preset.tile, model.preset.halo, GRID)
        forms["tiles"] = FullTiles(model).eval(), len(tiles)
    return forms


def full_static(name: str, model: RoutedModule) -> RoutedModule:
    """The full static model of a family's routed one."""
    made = family(name).full_static
    if made is None:
        raise SystemExit(f"{name} has no full static form to measure against")
    return made(model).eval()
