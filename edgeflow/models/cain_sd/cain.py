"""CAIN, the interpolator, with an exit after every residual group.

Source: Choi et al., Channel Attention Is All You Need for Video Frame Interpolation (AAAI 2020);
CAIN-SD, section 3.3, for the exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

GREY = 0.5
"""What a residual interpolator subtracts from its frames, instead of their means."""


class ChannelAttention(nn.Module):
    """Scales each channel by what the whole input says of it: (n, c, h, w) -> the same."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the channels."""
        weights = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        scaled: torch.Tensor = x * torch.sigmoid(weights)
        return scaled


class ResidualBlock(nn.Module):
    """Two reflection-padded 3x3 convolutions and channel attention around a skip."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.attention = ChannelAttention(channels, reduction)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) -> the same."""
        y = self.second(F.leaky_relu(self.first(x), 0.2))
        attended: torch.Tensor = self.attention(y)
        return x + attended


class ResidualGroup(nn.Module):
    """Residual blocks and a convolution around a skip. After each group the network may exit."""

    def __init__(self, channels: int, blocks: int, reduction: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels, reduction) for _ in range(blocks)))
        self.last = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) -> the same."""
        refined: torch.Tensor = self.last(self.blocks(x))
        return x + refined


class CAIN(nn.Module):
    """The interpolator, in pieces that a flow chains.

    Args:
        channels: of the body; 192 as published.
        blocks: residual blocks per group; 12 as published.
        groups: residual groups, and so exits; 5 as published.
        reduction: of the channel attention; 16 as published.
        unshuffle: pixels per side that one position of the body stands for; 8 as published.
        residual: add the average of the two frames to the output, instead of the average of
            their means as published. A body with fewer channels than a position has values
            cannot carry a still picture through; with the frames' average it need only say
            what moved.
    """

    def __init__(
        self,
        channels: int = 192,
        blocks: int = 12,
        groups: int = 5,
        reduction: int = 16,
        unshuffle: int = 8,
        residual: bool = False,
    ) -> None:
        super().__init__()
        values = 3 * unshuffle**2
        self.unshuffle, self.residual = unshuffle, residual
        self.head_conv = nn.Conv2d(2 * values, channels, 3, padding=1)
        self.groups = nn.ModuleList(ResidualGroup(channels, blocks, reduction) for _ in range(groups))
        self.tail_conv = nn.Conv2d(channels, values, 3, padding=1)

    def head(self, frame0: torch.Tensor, frame1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and what the tail adds to the picture.

        Args:
            frame0: (n, 3, h, w) float in [0, 1]; h and w are multiples of u, `unshuffle`.
            frame1: like `frame0`.

        Returns:
            (n, channels, h / u, w / u), and (n, 3, 1, 1) or, if residual, (n, 3, h, w).
        """
        return self._head(*self._centre(frame0, frame1))

    def _centre(self, *frames: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
        """Frames about zero, and the average of what was subtracted."""
        means: list[Any] = [GREY if self.residual else f.mean((2, 3), keepdim=True) for f in frames]
        return [f - mean for f, mean in zip(frames, means, strict=True)], sum(means) / len(means)

    def _head(self, centred: Sequence[torch.Tensor], mean: Any) -> tuple[torch.Tensor, torch.Tensor]:
        split = [F.pixel_unshuffle(frame, self.unshuffle) for frame in centred]
        first: torch.Tensor = self.head_conv(torch.cat(split, 1))
        return first, (centred[0] + centred[1]) / 2 + mean if self.residual else mean

    def tail(self, x: torch.Tensor, first: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """The picture: (n, channels, h, w) twice and `base` -> (n, 3, u h, u w), not clamped."""
        return F.pixel_shuffle(self.tail_conv(x + first), self.unshuffle) + base

    def exits(self, frame0: torch.Tensor, frame1: torch.Tensor) -> list[torch.Tensor]:
        """The picture of every exit, shallowest first: (n, 3, h, w) each (CAIN-SD, Eq. 9)."""
        first, base = self.head(frame0, frame1)
        pictures, x = [], first
        for group in self.groups:
            x = group(x)
            pictures.append(self.tail(x, first, base))
        return pictures

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor, multiple: int = 128) -> torch.Tensor:
        """The frame between two whole frames at full depth: (n, 3, h, w) twice -> the same.

        Frames are reflection-padded to a multiple of `multiple` pixels: 128 as published.
        """
        h, w = frame0.shape[-2:]
        high, wide = -h % multiple, -w % multiple
        centred, mean = self._centre(frame0, frame1)
        pad = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
        padded = [F.pad(f, pad, mode="reflect") if any(pad) else f for f in centred]
        first, base = self._head(padded, mean)
        x = first
        for group in self.groups:
            x = group(x)
        return self.tail(x, first, base)[..., pad[2] : pad[2] + h, pad[0] : pad[0] + w]
