"""A convolution of which a part is computed, and the rest rebuilt by cheap linear operations."""

from __future__ import annotations

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
        """All channels: every branch's own and those that it rebuilds, scaled by its gate and added up."""
        first = self.widths.index(width)
        total = self._widened(_scaled(core, gates, first), first)
        for branch in range(first + 1, len(self.widths)):
            own = core[:, : _kept(self.conv.out_channels, self.widths[branch])]
            total = total + self._widened(_scaled(own, gates, branch), branch)
        return total

    def _widened(self, own: Tensor, branch: int) -> Tensor:
        """Its channels and the others, each a 3x3 filter of one of them."""
        if not branch:
            return own
        rest = self.conv.out_channels - own.shape[1]
        weight = self.rest[branch - 1]
        each = self.widths[branch] - 1
        made = _depthwise(own[:, : len(weight) // each], weight, each)
        return torch.cat([own, made[:, :rest]], 1)

    def _over_frames(self, mixed: Tensor, gates: Tensor, stride: int) -> Tensor:
        """All frames: every branch's own and those that it rebuilds, scaled by its gate and added up."""
        first = self.strides.index(stride)
        total = self._lengthened(_scaled(mixed, gates, first), first)
        for branch in range(first + 1, len(self.strides)):
            own = mixed[:, :, :: self.strides[branch] // stride]
            total = total + self._lengthened(_scaled(own, gates, branch), branch)
        return total

    def _lengthened(self, own: Tensor, branch: int) -> Tensor:
        """Its frames and those between, each a computed one with its channels scaled."""
        if not branch:
            return own
        scales = self.later[branch - 1]
        between = [own * scale.reshape(-1, 1, 1, 1) for scale in scales]
        return torch.stack([own, *between], 3).flatten(2, 3)[:, :, : self.frames]


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


def _depthwise(x: Tensor, weight: Tensor, each: int) -> Tensor:
    """Filters of single pictures (n, c, ..., h, w): `each` for a channel, the same for all its frames."""
    if x.ndim == 4:
        return F.conv2d(x, weight, padding=1, groups=x.shape[1])
    frames = x.shape[
        2
    ]  # channels and frames lie side by side, so libraries run their depthwise kernel on pictures
    parts = [
        F.conv2d(
            x.flatten(1, 2),
            weight[i::each].repeat_interleave(frames, 0),
            padding=1,
            groups=x.shape[1] * frames,
        )
        for i in range(each)
    ]
    return torch.cat([part.reshape(-1, *x.shape[1:3], *part.shape[2:]) for part in parts], 1)


def _scaled(own: Tensor, gates: Tensor, branch: int) -> Tensor:
    """What a branch computed times its gate: before the rest is rebuilt, which is linear, since it is smaller then."""
    return own * gates[:, branch].reshape(-1, *(1 for _ in own.shape[1:]))
