"""The vid2vid generator (pix2pixHD's, on several frames), for edges to faces and labels to streets.

The paper leaves its settings out; these reproduce its parameters to four digits and its
multiply-accumulates within 2%.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from edgeflow.ops.warp import warp

DOWNS = 3
"""Times that features are halved."""


@dataclass(frozen=True)
class Task:
    """What a vid2vid generator reads and how wide it is.

    Attributes:
        conditions: channels of the conditions of three frames.
        width: channels at full size.
        foreground: channels at full size of the branch that paints the foreground; none if 0.
        size: (height, width) of its frames.
    """

    conditions: int
    width: int
    foreground: int
    size: tuple[int, int]


TASKS = {"e2f": Task(45, 128, 0, (512, 512)), "l2c": Task(108, 128, 64, (256, 512))}
"""Edges to faces: 15 channels a frame. Labels to streets: 35 labels and an edge map a frame."""

PREVIOUS = 6
"""Channels of the last two pictures that were made."""


class BatchResidual(nn.Module):
    """Two reflection-padded 3x3 convolutions with batch norms, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> the same."""
        made: torch.Tensor = x + self.body(x)
        return made


class TwoEncoders(nn.Module):
    """One step of the encoders of conditions and of previous pictures, whose channels stand side by side.

    Args:
        first: step of the conditions' encoder.
        second: step of the previous pictures' encoder.
        channels: that the first reads; the second reads the others.
    """

    def __init__(self, first: nn.Module, second: nn.Module, channels: int) -> None:
        super().__init__()
        self.first, self.second, self.channels = first, second, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) -> both results, concatenated."""
        return torch.cat([self.first(x[:, : self.channels]), self.second(x[:, self.channels :])], 1)


class AddHalves(nn.Module):
    """Adds the two encoders' features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 2 * c, h, w) -> (n, c, h, w)."""
        first, second = x.chunk(2, 1)
        return first + second


class Vid2Vid(nn.Module):
    """The generator: a picture that is painted, and one warped from the last, blended by a mask.

    Attributes:
        image: paints; modules called one after another, from `first` to `paint`. Shortcut-V2V cuts it.
        moved: from both encoders' feature to that of `flow` and `mask`.
        flow: from the last picture to this one, in twentieths of a pixel.
        mask: 1 where the painted picture is taken, 0 where the warped one is.
        foreground: paints the foreground, where the task has such a branch; else None.

    Args:
        task: what it reads.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        w, deepest = task.width, task.width * 2**DOWNS
        self.task = task
        steps: OrderedDict[str, nn.Module] = OrderedDict()
        steps["first"] = TwoEncoders(_entry(task.conditions, w), _entry(PREVIOUS, w), task.conditions)
        for k in range(DOWNS):
            c = w * 2**k
            steps[f"down{k + 1}"] = TwoEncoders(_down(c), _down(c), c)
        for k in range(5):
            steps[f"block{k + 1}"] = TwoEncoders(BatchResidual(deepest), BatchResidual(deepest), deepest)
        steps["merge"] = AddHalves()
        for k in range(4):
            steps[f"paint_block{k + 1}"] = BatchResidual(deepest)
        for k in range(DOWNS):
            steps[f"up{k + 1}"] = _up(deepest // 2**k)
        steps["paint"] = _exit(w, 3, nn.Tanh())
        self.image = nn.Sequential(steps)
        self.moved = nn.Sequential(
            *(BatchResidual(deepest) for _ in range(4)), *(_up(deepest // 2**k) for k in range(DOWNS))
        )
        self.flow, self.mask = _exit(w, 2, nn.Identity()), _exit(w, 1, nn.Sigmoid())
        self.foreground = _foreground(task.conditions, task.foreground) if task.foreground else None

    def forward(
        self, conditions: torch.Tensor, previous: torch.Tensor, foreground: torch.Tensor | None = None
    ) -> torch.Tensor:
        """One frame.

        Args:
            conditions: of this frame and the two before, (n, conditions, h, w).
            previous: the two pictures made last, the later one behind, (n, 6, h, w) in [-1, 1].
            foreground: 1 where the foreground is, (n, 1, h, w); for tasks with such a branch.

        Returns:
            (n, 3, h, w) in [-1, 1].
        """
        x = torch.cat([conditions, previous], 1)
        names = list(dict(self.image.named_children()))
        split = names.index("merge") + 1
        merged = self.image[:split](x)
        picture: torch.Tensor = self.image[split:](merged)
        moved = self.moved(merged)
        mask = self.mask(moved)
        picture = picture * mask + warp(previous[:, 3:], self.flow(moved) * 20) * (1 - mask)
        if self.foreground is None:
            return picture
        if foreground is None:
            foreground = torch.zeros_like(mask)
        whole: torch.Tensor = self.foreground(conditions) * foreground + picture * (1 - foreground)
        return whole


def _entry(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(inputs, outputs, 7), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _down(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 2 * channels, 3, 2, 1), nn.BatchNorm2d(2 * channels), nn.ReLU())


def _up(channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(nn.ConvTranspose2d(channels, half, 3, 2, 1, 1), nn.BatchNorm2d(half), nn.ReLU())


def _exit(inputs: int, outputs: int, last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(inputs, outputs, 7), last)


def _foreground(conditions: int, width: int) -> nn.Sequential:
    deepest = width * 2**DOWNS
    return nn.Sequential(
        _entry(conditions, width),
        *(_down(width * 2**k) for k in range(DOWNS)),
        *(BatchResidual(deepest) for _ in range(9)),
        *(_up(deepest // 2**k) for k in range(DOWNS)),
        _exit(width, 3, nn.Tanh()),
    )
