"""HetConv: a 3x3 convolution of which most taps of a filter are shared out among parts of the channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import FlowError


class HetConv(nn.Module):
    """A grouped 3x3 convolution, plus a dense 1x1, less a grouped 1x1; each with a bias.

    Each filter is 3x3 on its own part of the channels and 1x1 on all others. It is linear, so one dense
    3x3 convolution equals it: `folded`.

    Args:
        in_channels: divisible by `parts`.
        out_channels: divisible by `parts`.
        parts: groups of channels.

    Raises:
        FlowError: channels that `parts` does not divide.

    Source: Singh et al., HetConv (CVPR 2019), in the form that Shortcut-V2V uses.
    """

    def __init__(self, in_channels: int, out_channels: int, parts: int = 4) -> None:
        super().__init__()
        if in_channels % parts or out_channels % parts:
            raise FlowError(f"HetConv: {parts} parts of {in_channels} to {out_channels} channels")
        self.grouped = nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=parts)
        self.dense = nn.Conv2d(in_channels, out_channels, 1)
        self.grouped_point = nn.Conv2d(in_channels, out_channels, 1, groups=parts)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, out_channels, h, w)."""
        made: Tensor = self.grouped(x) + self.dense(x) - self.grouped_point(x)
        return made

    def folded(self) -> nn.Conv2d:
        """The one dense 3x3 convolution that equals it."""
        groups = self.grouped.groups
        weight = spread(self.grouped.weight, groups)
        point = F.pad(self.dense.weight - spread(self.grouped_point.weight, groups), (1, 1, 1, 1))
        out_channels, in_channels = weight.shape[:2]
        conv = nn.Conv2d(in_channels, out_channels, 3, padding=1).to(weight)
        assert conv.bias is not None and self.grouped.bias is not None
        assert self.dense.bias is not None and self.grouped_point.bias is not None
        with torch.no_grad():
            conv.weight.copy_(weight + point)
            conv.bias.copy_(self.grouped.bias + self.dense.bias - self.grouped_point.bias)
        return conv


def spread(weight: Tensor, groups: int) -> Tensor:
    """The weight of a grouped convolution as that of a dense one, zeros elsewhere."""
    blocks = weight.reshape(groups, -1, *weight.shape[1:])
    o, inside = blocks.shape[1:3]
    dense = weight.new_zeros(groups, o, groups, inside, *weight.shape[2:])
    each = torch.arange(groups)
    dense[each, :, each] = blocks
    return dense.reshape(groups * o, groups * inside, *weight.shape[2:])
