"""How far tiles are from the whole frame: a halo too small for what a network sees, a grid too fine for how it shrinks.

The flow runs eagerly on a picture of two tiles beside each other: once as it tiles, once as one region that holds all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import lcm
from typing import Any

import torch

from edgeflow.export.sample import moving_picture
from edgeflow.flow.eager import Eager, EagerFlow, EagerValue
from edgeflow.flow.grids import found_grids
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.program import FRAME, Image, Program, Tile
from edgeflow.ir.route import Choice

VISIBLE = 1 / 255
"""Differences of pictures up to one level are not worth a remark."""


class _Whole(EagerFlow):
    """Takes the whole frame as the one tile."""

    def tile(self, *frames: EagerValue, size: int, halo: int, multiple: int | None = None) -> Any:
        cut = [EagerValue("tiles", frame.tensors) for frame in frames]
        return cut[0] if len(cut) == 1 else tuple(cut)

    def _stitch(self, tiles: EagerValue, blend: bool) -> EagerValue:
        return EagerValue(FRAME, tiles.tensors)

    def _state_of(self, state: str, regions: str) -> EagerValue:
        return super()._state_of(state, FRAME)


def seam_remarks(model: RoutedModule, program: Program, route: Mapping[str, Choice]) -> list[str]:
    """What is to be said of how a model tiles, a line each; nothing if its tiles are as the whole frame, or are known not to be.

    Args:
        model: whose flow tiles.
        program: its program.
        route: the value of every axis to compare at.
    """
    if model.judged_in_tiles:
        return []
    tilings = [operation for operation in program.operations if isinstance(operation, Tile)]
    return [line for tiling in tilings[:1] for line in _remarks(model, program, tiling, route)]


def _remarks(
    model: RoutedModule, program: Program, tiling: Tile, route: Mapping[str, Choice]
) -> Iterator[str]:
    grid = dict(found_grids(model, {})).get(tiling.regions, 1)
    if tiling.multiple % grid:
        yield (
            f"tiles begin at multiples of {tiling.multiple} pixels as f.tile says, but their segments work on a grid of {grid}: "
            "off it they compute something else than on the whole frame"
        )
    worst = _difference(model, program, tiling, route, grid)
    if worst > VISIBLE:
        yield (
            f"tiles of {tiling.size} pixels with a halo of {tiling.halo} differ from the whole frame by up to "
            f"{255 * worst:.0f} of 255 levels at their seams: the network sees further than the halo, or takes statistics of a tile; "
            "a larger halo brings them closer"
        )


def _difference(
    model: RoutedModule, program: Program, tiling: Tile, route: Mapping[str, Choice], grid: int
) -> float:
    """Largest difference between tiles and the whole frame, of pictures in [0, 1]; 0 where they cannot be compared."""
    pictures = [spec for spec in program.inputs if isinstance(spec, Image)]
    if len(pictures) + program.task.timed != len(program.inputs) or not all(
        isinstance(spec, Image) for spec in program.outputs
    ):
        return 0.0
    unit = lcm(tiling.multiple, grid)
    step = max((tiling.size - 2 * tiling.halo) // unit, 1) * unit
    shape = (tiling.size, tiling.size + step)  # two tiles that share no more than they must
    frames = [to_tensor(moving_picture(*shape, time)) for time in range(len(pictures))]
    frames += [torch.full((1, 1), program.task.outputs[0].time)] * program.task.timed
    try:
        tiled, whole = (Eager(model, route, kind)(*frames).outputs for kind in (EagerFlow, _Whole))
    except (EdgeflowError, RuntimeError):
        return 0.0  # for frames of one size, or segments for tiles of one size: there is no whole frame to compare with
    pairs = zip(tiled, whole, strict=True)
    return max(float((a.clamp(0, 1) - b.clamp(0, 1)).abs().max()) for a, b in pairs)
