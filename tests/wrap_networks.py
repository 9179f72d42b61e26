"""Small static networks, as somebody might bring them, and film to run them on."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.export.sample import moving_picture


def conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, 1)


def denoiser() -> nn.Module:
    """Sees two pixels around."""
    torch.manual_seed(0)
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 3), nn.Sigmoid()).eval()


def deep() -> nn.Module:
    """Sees five pixels around, and takes many times as long as looking at tiles does."""
    torch.manual_seed(0)
    body = [layer for _ in range(3) for layer in (conv(64, 64), nn.ReLU())]
    return nn.Sequential(conv(3, 64), nn.ReLU(), *body, conv(64, 3), nn.Sigmoid()).eval()


class Enlarger(nn.Module):
    """Twice as large, on a grid of two pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down, self.up = conv(12, 16), conv(16, 48)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.down(F.pixel_unshuffle(frame, 2)))
        return torch.sigmoid(F.pixel_shuffle(self.up(x), 4))


class Segmenter(nn.Module):
    """Scores of five classes, by a U-Net that shrinks by four."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.shrink, self.least = conv(3, 8), conv(8, 8, 2), conv(8, 8, 2)
        self.leave = conv(8, 5)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        first = F.relu(self.enter(frame))
        second = F.relu(self.shrink(first))
        third = F.relu(self.least(second))
        second = second + F.interpolate(third, scale_factor=2.0)
        return self.leave(first + F.interpolate(second, scale_factor=2.0))


class Attentive(nn.Module):
    """Weighs its channels by what they are over the whole frame."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(conv(3, 8), nn.ReLU())
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.leave = conv(8, 3)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        x = self.body(frame)
        return torch.sigmoid(self.leave(x * self.weigh(x)))


class Normed(nn.Module):
    """An instance norm over the frame."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 4), nn.InstanceNorm2d(4), conv(4, 3))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.body(frame)


class Middle(nn.Module):
    """The picture between two frames, at a time that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change = nn.Sequential(conv(6, 8), nn.ReLU(), conv(8, 3))

    def forward(self, frame0: torch.Tensor, frame1: torch.Tensor, time: float = 0.5) -> torch.Tensor:
        mean = (1 - time) * frame0 + time * frame1
        return mean + 0.05 * torch.tanh(self.change(torch.cat((frame0, frame1), 1)))


class Three(nn.Module):
    """A frame with what its neighbours say of it, all stacked by channels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change = nn.Sequential(conv(9, 8), nn.ReLU(), conv(8, 3))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, 3:6] + 0.05 * torch.tanh(self.change(frames))


class Five(nn.Module):
    """The last frame of a clip of five, twice as large."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change = nn.Sequential(conv(15, 8), nn.ReLU(), conv(8, 12))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        made = F.pixel_shuffle(self.change(clip.flatten(1, 2)), 2)
        return F.interpolate(clip[:, -1], scale_factor=2.0) + 0.05 * torch.tanh(made)


def film(count: int = 10, height: int = 128, width: int = 192, moving: int = 32) -> list[np.ndarray]:
    """A still picture in which a square of `moving` pixels goes right."""
    still = np.ascontiguousarray(moving_picture(height, width, 0))
    other = moving_picture(height, width, 7)
    frames = []
    for number in range(count):
        frame = still.copy()
        left = 4 + 6 * number
        frame[20 : 20 + moving, left : left + moving] = other[60 : 60 + moving, 40 : 40 + moving]
        frames.append(frame)
    return frames
