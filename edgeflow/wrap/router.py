"""What a wrapped network is routed by: errors to expect of every way, of changes that are measured in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.flow.measures import LargestChange, sampled
from edgeflow.wrap.network import completed, stacked

CANVAS = 320
"""Rows and columns of a frame that are looked at at most, evenly picked, to decide between tiles and the whole frame."""
LEVELS = 255.0**2
UNKNOWN = 1e9
"""Squared error of the picture that nothing was made of yet."""


@dataclass(frozen=True)
class Fit:
    """A power law from what is measured of the input to the squared error that it comes to: error = factor x measured ^ power.

    Both are means over the square of 8x8 pixels where they are largest, in squared levels of 255.
    """

    factor: float
    power: float

    def __call__(self, measured: Tensor) -> Tensor:
        """Errors to expect, the shape of what is measured."""
        return self.factor * measured.clamp(min=1e-12).pow(self.power) * (measured > 0)


class TileScores(nn.Module):
    """Minus the squared errors to expect of every way, of each tile.

    Args:
        copy: from changes of the input to changes of the output.
        half: from what half the size loses to the error that it makes; None if there is no such way.
        frames: that a call reads.
    """

    def __init__(self, copy: Fit, half: Fit | None, frames: int) -> None:
        super().__init__()
        self.copied, self.halved, self.frames = copy, half, frames
        self.change = LargestChange()

    def forward(self, *values: Tensor) -> Tensor:
        """Scores (n, ways).

        Args:
            values: tiles of every frame, (n, 3, size, size) each; what they were when the picture that may be copied was made;
                and whether there is one, (n, 1).
        """
        now, before, known = values[: self.frames], values[self.frames : -1], values[-1]
        copied = _if_known(self.copied(changed(self.change, now, before)), known)
        errors = [copied]
        if self.halved is not None:
            errors.append(self.halved(self.lost(now[-1])))
        errors.append(torch.zeros_like(copied))
        return -torch.cat(errors, 1)

    def begun(self, known: Tensor) -> Tensor:
        """What says that there is a picture to copy, (n, 1)."""
        return known.clamp(min=1)

    def lost(self, frame: Tensor) -> Tensor:
        """What half the size loses of a frame: (n, 1), in squared levels."""
        frame = completed(frame, LargestChange.SQUARE)
        small = F.avg_pool2d(frame, 2)
        lost: Tensor = self.change(frame, F.interpolate(small, scale_factor=2.0, mode="bilinear")) * LEVELS
        return lost


class FrameScores(nn.Module):
    """What parts of a frame would be worth, by what changed since the last frame.

    Args:
        copy: from changes of the input to changes of the output.
        parts: rows and columns of the parts.
        size: (height, width) of the frames.

    Attributes:
        canvas: rows and columns of a frame that are looked at: about every second, at most `CANVAS`.
    """

    def __init__(self, copy: Fit, parts: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        self.copied, self.parts = copy, parts
        self.canvas = (looked_at(size[0]), looked_at(size[1]))
        self.change = LargestChange(
            (self.canvas[0] // LargestChange.SQUARE, self.canvas[1] // LargestChange.SQUARE)
        )

    def forward(self, *frames: Tensor) -> Tensor:
        """What is looked at of the frames: (1, 3 x frames, rows, columns)."""
        return sampled(stacked(frames), self.canvas)

    def of(self, now: Tensor, before: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of parts for `Spread`, (1, 3 x parts), and what says that a frame is known, (1, 1).

        Args:
            now: what is looked at of this frame.
            before: of the last one.
            known: whether there was one, (1, 1).
        """
        cells = F.max_pool2d(self.change(now, before), 3, 1, 1)  # tiles see beyond their patches
        most = F.adaptive_max_pool2d(cells, self.parts).flatten(1) * LEVELS
        copied = _if_known(self.copied(most), known)
        exact = torch.zeros_like(copied)
        return -torch.cat((copied, exact, exact), 1), known.clamp(min=1)


def looked_at(side: int) -> int:
    """Rows of a frame that are looked at, of so many: whole squares of them.

    >>> looked_at(240), looked_at(720)
    (120, 320)
    """
    return min(-(-side // (2 * LargestChange.SQUARE)) * LargestChange.SQUARE, CANVAS)


def changed(measure: LargestChange, now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """The largest change of any frame, (n, 1) in squared levels."""
    now, before = ([completed(frame, measure.SQUARE) for frame in frames] for frames in (now, before))
    changes = torch.cat([measure(a, b) for a, b in zip(now, before, strict=True)], 1)
    return changes.amax(1, keepdim=True) * LEVELS


def _if_known(error: Tensor, known: Tensor) -> Tensor:
    """The error where there is something to copy, (n, 1)."""
    return torch.where(known > 0.5, error, UNKNOWN)
