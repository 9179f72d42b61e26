"""CAIN-SD of the tiny preset with any number of scales and depths: 1 to 60 routes."""

from __future__ import annotations

from dataclasses import replace

import torch

from edgeflow.flow import Axis
from edgeflow.models.cain_sd import CAINSD
from edgeflow.models.cain_sd.model import PRESETS


def with_routes(scales: int, depths: int) -> CAINSD:
    """Random weights by seed 0; `scales` of 1, 2 and 4, and an exit after each of `depths` groups."""

    class ManyRoutes(CAINSD):
        scale = Axis(*(1, 2, 4)[:scales])
        exit = Axis(*range(1, depths + 1))

    torch.manual_seed(0)
    preset = PRESETS["tiny"]
    return ManyRoutes(replace(preset, cain={**preset.cain, "groups": depths})).eval()
