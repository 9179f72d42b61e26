"""Counts multiply-accumulates and parameters as the paper does, with thop's rules.

By these rules Shortcut-V2V's published numbers come out. They leave out the deformable convolutions, and
count a transposed convolution at its output's resolution, four times too dear at stride 2. What a model
truly costs is what `edgeflow.flow.cost` counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

Convolution = nn.Conv2d | nn.ConvTranspose2d


@dataclass(frozen=True)
class PaperCount:
    """Multiply-accumulates, and parameters of the modules that ran."""

    macs: int
    parameters: int

    def __add__(self, other: PaperCount) -> PaperCount:
        return PaperCount(self.macs + other.macs, self.parameters + other.parameters)


@torch.no_grad()
def paper_count(module: nn.Module, *inputs: torch.Tensor) -> PaperCount:
    """Count one call of a module; on the meta device nothing is computed.

    Convolutions count output elements x input channels per group x kernel size, parameters of
    convolutions and norms count where they ran, and everything else counts nothing.

    Args:
        module: called with the inputs.
        inputs: of batch 1.
    """
    macs = 0
    ran: dict[int, int] = {}

    def note(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal macs
        ran[id(layer)] = sum(p.numel() for p in layer.parameters(recurse=False))
        if isinstance(layer, Convolution):
            macs += output.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)

    counted = [m for m in module.modules() if isinstance(m, (*Convolution.__args__, nn.BatchNorm2d))]
    hooks = [layer.register_forward_hook(note) for layer in counted]
    try:
        module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return PaperCount(macs, sum(ran.values()))
