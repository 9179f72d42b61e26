"""A convolution of which a part is computed, and the rest rebuilt by cheap linear operations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import FlowError


class DynamicConv(nn.Module):
    """A convolution with branches: branch p computes one frame in 2^p (temporal), or one channel in 2^p.

    All branches share one kernel: of the widest branch that a clip's gates leave, smaller ones take every 2^p-th frame
    and the first channels. The temporal branches come after the channel branches, so a layer at 2^p and 2^q costs 2^-(p+q).

    Args:
        conv: whose weights are shared. Its output channels are halved rounding up, so that what is left is never more than
            what is computed.
        frames: that leave it; 1 for an image.
        space: most branches of a kind. A layer that leaves fewer frames or channels than 2^p has no branch p.
        name: of the layer, for messages.

    Raises:
        FlowError: it is no plain convolution of two or three dimensions.

    Source: VA-RED2, Eq. 1, 3, 5 and 7.
    """

    def __init__(self, conv: nn.Module, frames: int, space: int, name: str) -> None:
        super().__init__()
        self.conv = _followed(conv, name)
        self.frames = frames
        self.strides = tuple(2**p for p in range(space) if 2**p <= frames)
        self.widths = tuple(2**p for p in range(space) if 2**p <= self.conv.out_channels)
        channels = self.conv.out_channels
        self.later = nn.ParameterList(torch.ones(stride - 1, channels) for stride in self.strides[1:])
        self.rest = nn.ParameterList(_copies(channels, width) for width in self.widths[1:])

    @property
    def branches(self) -> tuple[tuple[int, ...], ...]:
        """Strides and widths, each if there is more than one."""
        return tuple(kind for kind in (self.strides, self.widths) if len(kind) > 1)

    def forward(self, x: Tensor, *gates: Tensor, stride: int = 1, width: int = 1) -> Tensor:
        """The layer's output where no gate of a larger branch is open.

        Args:
            x: (n, c, t, h, w) or (n, c, h, w).
            gates: (n, branches) for every kind in `branches`; zero before the stride and the width given.
            stride: of the frames that are computed, 2^p.
            width: over which the channels are that are computed, 2^p.
        """
        made = self._core(x, stride, width)
        if len(self.widths) > 1:
            made = self._over_channels(made, gates[-1], width)
        if len(self.strides) > 1:
            made = self._over_frames(made, gates[0], stride)
        return made

    def plain(self, x: Tensor) -> Tensor:
        """The convolution as it was before it had branches."""
        made: Tensor = self.conv(x)
        return made

    def _core(self, x: Tensor, stride: int, width: int) -> Tensor:
        """What is computed: the first channels of every `stride`-th frame."""
        conv = self.conv
        kept = _kept(conv.out_channels, width)
        bias = None if conv.bias is None else conv.bias[:kept]
        weight, dilation = conv.weight[:kept], conv.dilation
        if isinstance(conv, nn.Conv2d):
            return F.conv2d(x, weight, bias, conv.stride, conv.padding, dilation)
        strides = (conv.stride[0] * stride, *conv.stride[1:])
        return F.conv3d(x, weight, bias, strides, conv.padding, dilation)

    def _over_channels(self, core: Tensor, gates: Tensor, width: int) -> Tensor:
        """All channels: the sum over branches of gate times what the branch computes and rebuilds.

        Channels of one block, which the same branches compute, are scaled once, by the sum of these branches' gates: every pass over
        a clip's feature maps costs about as much as a hundredth of a convolution.
        """
        channels, first = self.conv.out_channels, self.widths.index(width)
        branches = range(first, len(self.widths))
        kept = [_kept(channels, each) for each in self.widths]
        rest = {branch: self._rest(core, gates, branch) for branch in branches if branch}
        blocks = []
        for start, end in pairwise((0, *(kept[branch] for branch in reversed(branches)), channels)):
            if start == end:
                continue
            terms = [rest[b][:, start - kept[b] : end - kept[b]] for b in branches if kept[b] <= start]
            own = [b for b in branches if kept[b] >= end]
            if own:
                terms.append(core[:, start:end] * _as_wide(gates[:, own].sum(1), core))
            blocks.append(_sum(terms))
        return torch.cat(blocks, 1)

    def _rest(self, core: Tensor, gates: Tensor, branch: int) -> Tensor:
        """The channels that a branch rebuilds, each a 3x3 filter of one that it computes, times its gate."""
        weight, each = self.rest[branch - 1], self.widths[branch] - 1
        sources = core[:, : len(weight) // each] * _as_wide(gates[:, branch], core)
        made = torch.cat([_depthwise(sources, weight[i::each]) for i in range(each)], 1)
        return made[:, : self.conv.out_channels - _kept(self.conv.out_channels, self.widths[branch])]

    def _over_frames(self, mixed: Tensor, gates: Tensor, stride: int) -> Tensor:
        """All frames: the sum over branches of gate times what the branch computes and rebuilds.

        The largest stride is the period: a frame is a sum of computed frames of its period, each scaled once.
        """
        period = self.strides[-1]
        count = -(-self.frames // period)
        computed = {
            place: _filled(mixed[:, :, place // stride :: period // stride], count)
            for place in range(0, period, stride)
        }
        made = []
        for place in range(period):
            factors: dict[int, Tensor] = {}
            for branch in range(self.strides.index(stride), len(self.strides)):
                after = place % self.strides[branch]
                factor = _as_wide(gates[:, branch], mixed)
                if after:
                    factor = factor * self.later[branch - 1][after - 1].reshape(-1, 1, 1, 1)
                known = factors.get(place - after)
                factors[place - after] = factor if known is None else known + factor
            made.append(_sum([computed[source] * factor for source, factor in factors.items()]))
        return torch.stack(made, 3).flatten(2, 3)[:, :, : self.frames]


def _followed(conv: nn.Module, name: str) -> Any:
    """The convolution, if branches can be made of it."""
    reason = ""
    if not isinstance(conv, nn.Conv2d | nn.Conv3d):
        reason = f"it is a {type(conv).__name__}, and a convolution of two or three dimensions is wanted"
    elif conv.groups != 1:
        reason = f"it has {conv.groups} groups, of which no prefix can be computed alone"
    elif conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        reason = f"its padding is {conv.padding_mode!r} {conv.padding!r}, and numbers of zeros are wanted"
    if reason:
        raise FlowError(f"layer {name} cannot be made dynamic: {reason}; leave it out of dynamic=")
    return conv


def _kept(channels: int, width: int) -> int:
    return -(-channels // width)


def _copies(channels: int, width: int) -> Tensor:
    """Depthwise filters (rows, 1, 3, 3) that copy: as many for each computed channel as are missing beside it."""
    each = width - 1
    sources = -(-(channels - _kept(channels, width)) // each)
    filters = torch.zeros(sources * each, 1, 3, 3)
    filters[:, :, 1, 1] = 1
    return filters


def _depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """A filter (c, 1, 3, 3) for each channel of pictures or of clips' frames."""
    if x.ndim == 4:
        return F.conv2d(x, weight, padding=1, groups=x.shape[1])
    return F.conv3d(x, weight.unsqueeze(2), padding=(0, 1, 1), groups=x.shape[1])


def _as_wide(gate: Tensor, x: Tensor) -> Tensor:
    """One number a clip (n,), to be multiplied with its feature maps."""
    return gate.reshape(-1, *(1 for _ in x.shape[1:]))


def _filled(frames: Tensor, count: int) -> Tensor:
    """So many frames, zeros after the last one."""
    missing = count - frames.shape[2]
    return F.pad(frames, (0, 0, 0, 0, 0, missing)) if missing else frames


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total, *others = terms
    for term in others:
        total = total + term
    return total
