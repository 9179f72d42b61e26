"""Draws training samples from clips: crops where something moves, and whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from edgeflow.ir.errors import TrainError
from edgeflow.training.data import BLOCK, Clip

WIDER_GAP = 0.3
"""Share of triplets whose frames lie two frames apart instead of one."""
STILL_SHARE = 1.0
"""A block that does not move is drawn as often as one of this share of the mean activity."""


@dataclass(frozen=True)
class Triplet:
    """Frames `first`, `first + gap` (to be predicted) and `first + 2 * gap` of a clip."""

    clip: Clip
    first: int
    gap: int
    steps: ClassVar[tuple[int, ...]] = (0, 1, 2)
    """Where its frames stand, in gaps from the first."""

    @property
    def frames(self) -> list[int]:
        """Its frames' numbers."""
        return [self.first + step * self.gap for step in self.steps]


@dataclass(frozen=True)
class Window(Triplet):
    """A triplet with one more frame on either side, as far from it as its outer frames are from one another."""

    steps: ClassVar[tuple[int, ...]] = (-2, 0, 1, 2, 4)


class Samples:
    """Random triplets, or wider windows, of the training part of clips.

    Args:
        clips: all at least `crop` pixels high and wide are used for crops.
        crop: side of a crop, in pixels.
        rng: draws everything.
        kind: what is drawn.

    Raises:
        TrainError: no clip is large enough for a crop.
    """

    def __init__(
        self, clips: tuple[Clip, ...], crop: int, rng: np.random.Generator, kind: type[Triplet] = Triplet
    ) -> None:
        self.clips, self.crop, self.rng, self._kind = clips, crop, rng, kind
        self._weights = {clip.name: float(clip.activity[: clip.split].mean()) + 1 for clip in clips}
        self._large = tuple(clip for clip in clips if min(clip.frames.shape[1:3]) >= crop)
        if not self._large:
            raise TrainError(f"no clip is {crop} pixels high and wide: add a larger one to the data")

    def crops(self, count: int) -> torch.Tensor:
        """Crops that favour motion, turned, mirrored, half of them taken at half size.

        Returns:
            (frames, count, 3, crop, crop) float32 in [0, 1], in time's order: three of triplets, five of windows.
        """
        return _pictures([self._crop(self._triplet(self._large)) for _ in range(count)], 4 * 255)

    def frames(self, count: int) -> torch.Tensor:
        """Whole frames of one clip, some mirrored.

        Returns:
            (frames, count, 3, height, width) float32 in [0, 1].
        """
        first = self._triplet(self.clips)
        triplets = [first, *(self._triplet((first.clip,)) for _ in range(count - 1))]
        return _pictures(
            [t.clip.frames[t.frames][:: self._sign(), :, :: self._sign()] for t in triplets], 255
        )

    def _triplet(self, clips: tuple[Clip, ...]) -> Triplet:
        """One without a scene cut; clips that move are drawn more often.

        Raises:
            TrainError: none was found, since every triplet holds a cut.
        """
        weights = np.array([self._weights[clip.name] for clip in clips])
        for _ in range(1000):
            clip = clips[self.rng.choice(len(clips), p=weights / weights.sum())]
            before, after = -self._kind.steps[0], self._kind.steps[-1]
            wide = self.rng.random() < WIDER_GAP and clip.split > 2 * (before + after)
            gap = 2 if wide else 1
            first = int(self.rng.integers(before * gap, clip.split - after * gap))
            if clip.continuous(first - before * gap, first + after * gap):
                return self._kind(clip, first, gap)
        raise TrainError(
            f"the clips change scene in every {before + after + 1} frames: train on steadier ones"
        )

    def _crop(self, triplet: Triplet) -> NDArray[np.uint16]:
        """(frames, crop, crop, 3) uint16, 0 to 4 * 255."""
        height, width = triplet.clip.frames.shape[1:3]
        half = self.rng.random() < 0.5 and min(height, width) >= 2 * self.crop
        side = 2 * self.crop if half else self.crop
        top, left = self._corner(triplet, side)
        cut = triplet.clip.frames[triplet.frames, top : top + side, left : left + side].astype(np.uint16)
        if half:
            rows = cut[:, ::2] + cut[:, 1::2]
            cut = rows[:, :, ::2] + rows[:, :, 1::2]
        else:
            cut *= 4
        turned: NDArray[np.uint16] = np.rot90(cut, int(self.rng.integers(4)), (1, 2))
        return turned[:: self._sign(), :, :: self._sign()]

    def _corner(self, triplet: Triplet, side: int) -> tuple[int, int]:
        """Top and left of a crop around a block drawn by its activity."""
        activity = triplet.clip.activity[triplet.first].astype(np.float64)
        chances = activity + STILL_SHARE * activity.mean() + 1e-6
        block = self.rng.choice(chances.size, p=(chances / chances.sum()).ravel())
        place = np.array(np.unravel_index(block, chances.shape)) * BLOCK
        corner = place + BLOCK // 2 - self.rng.integers(side, size=2)
        most = np.array(triplet.clip.frames.shape[1:3]) - side
        top, left = np.clip(corner, 0, most)
        return int(top), int(left)

    def _sign(self) -> int:
        """1 or -1: keep or reverse."""
        return 1 if self.rng.random() < 0.5 else -1


class Pairs:
    """Random pairs of whole frames of the training part of clips, all of one size.

    Args:
        clips: resized to one size.
        rng: draws everything.
    """

    def __init__(self, clips: tuple[Clip, ...], rng: np.random.Generator) -> None:
        self.clips, self.rng = clips, rng

    def draw(self, count: int, farthest: int) -> torch.Tensor:
        """Pairs 1 to `farthest` frames apart, some mirrored, some with time running backwards.

        Returns:
            (2, count, 3, height, width) float32 in [0, 1].

        Raises:
            TrainError: no pair without a scene cut was found.
        """
        return _pictures([self._pair(farthest) for _ in range(count)], 255)

    def _pair(self, farthest: int) -> NDArray[np.uint8]:
        """(2, height, width, 3)."""
        for _ in range(1000):
            clip = self.clips[self.rng.integers(len(self.clips))]
            gap = int(self.rng.integers(1, farthest + 1))
            first = int(self.rng.integers(clip.split - gap))
            if clip.continuous(first, first + max(gap, 2)):
                forth, mirrored = (1 if self.rng.random() < 0.5 else -1 for _ in range(2))
                pair: NDArray[np.uint8] = clip.frames[[first, first + gap]][::forth, :, ::mirrored]
                return pair
        raise TrainError("the clips change scene all the time: train on steadier ones")


def _pictures(triplets: Sequence[NDArray[np.unsignedinteger[Any]]], white: int) -> torch.Tensor:
    """Pictures in time (frames, height, width, 3) with `white` as 1: (frames, count, 3, height, width) float32."""
    drawn = torch.from_numpy(np.stack(triplets, 1)).to(torch.get_default_device()).float()
    return drawn.div_(white).permute(0, 1, 4, 2, 3)
