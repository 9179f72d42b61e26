"""The 3D U-Net that adds texture: it sees all four frames and the picture between them.

Source: ST-MFNet, section 3.4; its shape is R3D-18's and FLAVR's (Kalluri et al., 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SLICES = 5
"""What its input holds, in time: two frames, the picture between, two frames."""
SLOPE = 0.2
"""Slope of leaky ReLUs below zero."""


class Gate(nn.Module):
    """Scales each channel by what the whole input says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.share = nn.Conv3d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> the same shape."""
        shares: Tensor = self.share(x.mean((2, 3, 4), keepdim=True))
        return x * shares.sigmoid()


class Basic(nn.Module):
    """Two 3x3x3 convolutions and a gate, added to the input; time is never strided."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        steps = (1, stride, stride)
        self.first = nn.Sequential(
            nn.Conv3d(channels, out, 3, steps, 1, bias=False), nn.BatchNorm3d(out), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv3d(out, out, 3, padding=1, bias=False), nn.BatchNorm3d(out), Gate(out)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv3d(channels, out, 1, steps, bias=False), nn.BatchNorm3d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) -> (n, out, t, h / stride, w / stride)."""
        made: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return made.relu()


def _merge(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, out, 3, padding=1), Gate(out), nn.BatchNorm3d(out), nn.LeakyReLU(SLOPE)
    )


def _enlarge(channels: int, out: int) -> nn.Sequential:
    conv = nn.ConvTranspose3d(channels, out, (3, 4, 4), (1, 2, 2), 1)
    return nn.Sequential(conv, Gate(out), nn.BatchNorm3d(out), nn.LeakyReLU(SLOPE))


class Texture(nn.Module):
    """UNet3d-18.

    Args:
        channels: of the encoder's four levels.
        fused: channels of the time slices when they are one picture again.
    """

    def __init__(self, channels: Sequence[int], fused: int) -> None:
        super().__init__()
        a, b, c, d = channels
        stem = nn.Conv3d(3, a, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(a), nn.ReLU())
        widths, strides = (a, a, b, c, d), (1, 2, 2, 1)
        self.levels = nn.ModuleList(
            nn.Sequential(Basic(i, o, stride), Basic(o, o, 1))
            for i, o, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.decoders = nn.ModuleList(
            [_merge(d, c), _enlarge(2 * c, b), _enlarge(2 * b, a), _merge(2 * a, a), _enlarge(2 * a, a)]
        )
        # The time slices as channels of a 1x1 convolution, as published, without moving them there.
        self.fuse = nn.Sequential(
            nn.Conv3d(a, fused, (SLICES, 1, 1), bias=False), nn.BatchNorm3d(fused), nn.LeakyReLU(SLOPE)
        )
        self.last = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(fused, 3, 7))
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and not isinstance(module, nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, *pictures: Tensor) -> Tensor:
        """Five pictures (n, 3, h, w), in time's order, sides multiples of 8 -> (n, 3, h, w)."""
        x = self.stem(torch.stack(pictures, 2))
        skips = [x]
        for level in self.levels:
            x = level(x)
            skips.append(x)
        skips.pop()
        first, *rest = self.decoders
        x = first(x)
        for decoder in rest:
            x = decoder(torch.cat([x, skips.pop()], 1))
        made: Tensor = self.last(self.fuse(x).squeeze(2))
        return made
