"""Generators that translate one frame: the paper's smaller teacher, at any width."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from edgeflow.models.shortcut_v2v.edges import Edges


class Residual(nn.Module):
    """Two reflection-padded 3x3 convolutions with instance norms, added to their input.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> the same."""
        made: torch.Tensor = x + self.body(x)
        return made


class Rescale(nn.Module):
    """`x * factor + shift`: between pictures in [0, 1] and the range that a generator works in."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same."""
        return x * self.factor + self.shift


def resnet_generator(width: int = 64, channels: int = 3) -> nn.Sequential:
    """The generator of Unsupervised RecycleGAN: 25 modules, named "0" to "24".

    Convolutions have biases; instance norms neither learn nor keep statistics. 7,837,699 parameters at
    the paper's width.

    Args:
        width: channels at full size; twice and four times as many at half and quarter size.
        channels: of the input; 3 come out, in [-1, 1].
    """
    w = width
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(channels, w, 7),
        nn.InstanceNorm2d(w),
        nn.ReLU(),
        nn.Conv2d(w, 2 * w, 3, 2, 1),
        nn.InstanceNorm2d(2 * w),
        nn.ReLU(),
        nn.Conv2d(2 * w, 4 * w, 3, 2, 1),
        nn.InstanceNorm2d(4 * w),
        nn.ReLU(),
        *(Residual(4 * w) for _ in range(6)),
        nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, 1),
        nn.InstanceNorm2d(2 * w),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * w, w, 3, 2, 1, 1),
        nn.InstanceNorm2d(w),
        nn.ReLU(),
        nn.ReflectionPad2d(3),
        nn.Conv2d(w, 3, 7),
        nn.Tanh(),
    )


def frame_to_frame(generator: nn.Sequential) -> nn.Sequential:
    """A generator on [-1, 1], between pictures in [0, 1]."""
    named = dict(generator.named_children())
    return nn.Sequential(OrderedDict(signed=Rescale(2, -1), **named, unit=Rescale(0.5, 0.5)))


def edges_to_frame(generator: nn.Sequential) -> nn.Sequential:
    """A generator of one input channel on [-1, 1], from a picture's edges to a picture, both in [0, 1]."""
    named = dict(generator.named_children())
    return nn.Sequential(OrderedDict(edges=Edges(), **named, unit=Rescale(0.5, 0.5)))
