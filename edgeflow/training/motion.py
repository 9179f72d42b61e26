"""A labelled set of motions, made of any clips: what a camera does that looks at them through a window.

Which motion it is, no single picture tells: windows of all motions are as large, and are everywhere in the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgeflow.ir.errors import TrainError
from edgeflow.models.motions import MOTIONS
from edgeflow.training.data import Clip, Dataset

WALK, FAST, SLOW = 0.6, 1.8, 0.2
"""Sides of the window that it goes from the first picture to the last."""
ZOOM = 0.5
"""What is left of the window's side at the end of a zoom."""
WIDEST = 1.4
"""The widest window's side over a picture's."""
LEAST_CONTRAST = 8.0
"""Standard deviation of what a window shows, 0 to 255: nothing moves where there is nothing to see."""
JITTER = 0.2
"""A motion is faster or slower than its kind by up to this share."""
TRIES = 1000
MOST_TESTED = 500
"""Frames of a clip from which motions for a test are made."""


@dataclass(frozen=True)
class Stretch:
    """The frames of a clip from which motions are made: `start` and up to, not with, `stop`."""

    clip: Clip
    start: int
    stop: int


@dataclass(frozen=True)
class Labelled:
    """Motions.

    Attributes:
        clips: (n, frames, 3, side, side) float32 in [0, 1].
        labels: (n,) int64, places in `MOTIONS`.
    """

    clips: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class _Window:
    """Where the camera looks, in pixels: the centre and the side."""

    x: float
    y: float
    side: float


def stored_size(side: int) -> tuple[int, int]:
    """The (height, width) of clips of which motions of this side are made: room for the fastest."""
    return side * 9 // 4, side * 4


def training_part(data: Dataset) -> tuple[Stretch, ...]:
    """What a network may learn from: the clips without their last fifth."""
    return tuple(Stretch(clip, 0, clip.split) for clip in data.training)


def judged_part(clip: Clip, whole: bool, side: int) -> Stretch:
    """What a network is tested with: all of a clip that was held out (`whole`), else its last fifth; of `stored_size(side)`."""
    start = 0 if whole else clip.split
    frames = clip.frames[start : start + MOST_TESTED]
    if frames.shape[1:3] != stored_size(side):
        frames = np.stack([_resized(frame, stored_size(side)) for frame in frames])
    shown = replace(clip, frames=frames, activity=clip.activity[start : start + len(frames)])
    return Stretch(shown, 0, len(frames))


class Motions:
    """Draws labelled motions from clips, every motion as often as the others.

    Args:
        stretches: of clips of `stored_size(side)`; those that are too short are left out.
        frames: of a motion.
        side: of its pictures, in pixels.
        rng: draws everything: equal seeds draw equal motions.

    Raises:
        TrainError: a clip of another size, or none that is long enough.
    """

    def __init__(
        self, stretches: Sequence[Stretch], frames: int, side: int, rng: np.random.Generator
    ) -> None:
        for stretch in stretches:
            if stretch.clip.frames.shape[1:3] != stored_size(side):
                raise TrainError(
                    f"{stretch.clip.name} is not {stored_size(side)} pixels high and wide: decode it so"
                )
        self._stretches = [each for each in stretches if each.stop - each.start >= frames]
        if not self._stretches:
            names = ", ".join(stretch.clip.name for stretch in stretches)
            raise TrainError(
                f"no clip of {names} has a part of {frames} frames to make a motion of: add a longer one"
            )
        self.frames, self.side, self._rng = frames, side, rng

    def draw(self, count: int) -> Labelled:
        """So many motions, in random order of labels where `count` is no multiple of theirs.

        Raises:
            TrainError: no frames without a scene cut were found, or none that show anything.
        """
        labels = np.concatenate(
            [self._rng.permutation(len(MOTIONS)) for _ in range(-(-count // len(MOTIONS)))]
        )[:count]
        clips = torch.stack([self._motion(MOTIONS[label]) for label in labels])
        device = torch.get_default_device()
        return Labelled(clips.to(device), torch.as_tensor(labels, device=device))

    def _motion(self, motion: str) -> torch.Tensor:
        for _ in range(TRIES):
            stretch, first = self._place()
            numbers = (
                np.full(self.frames, first) if motion == "still" else np.arange(first, first + self.frames)
            )
            mirrored = (
                -1 if self._rng.random() < 0.5 else 1
            )  # of the clip's own motion; the window's is drawn after
            frames = stretch.clip.frames[numbers][:, :, ::mirrored]
            shown = _through(frames, list(self._path(motion, *frames.shape[1:3])), self.side)
            if float(shown[self.frames // 2].std()) * 255 > LEAST_CONTRAST:
                return shown
        raise TrainError("the clips show nothing to see move: make motions of others")

    def _place(self) -> tuple[Stretch, int]:
        for _ in range(TRIES):
            stretch = self._stretches[self._rng.integers(len(self._stretches))]
            first = int(self._rng.integers(stretch.start, stretch.stop - self.frames + 1))
            if stretch.clip.continuous(first, first + self.frames - 1):
                return stretch, first
        raise TrainError("the clips change scene all the time: make motions of steadier ones")

    def _path(self, motion: str, height: int, width: int) -> Iterator[_Window]:
        """The window of every picture; at the middle of the motion it is anywhere that the motion leaves room for."""
        pace = 1 + JITTER * self._rng.uniform(-1, 1)
        size = self.side * self._rng.uniform(1, WIDEST)
        travel, shrink = STEPS[motion](pace)
        reach = (size + abs(travel) * self.side) / 2
        middle = _Window(
            self._rng.uniform(min(reach, width / 2), max(width - reach, width / 2)),
            self._rng.uniform(size / 2, height - size / 2),
            size,
        )
        for time in np.linspace(-0.5, 0.5, self.frames):
            yield replace(middle, x=middle.x + travel * self.side * time, side=size * shrink ** (time + 0.5))


STEPS: dict[str, Callable[[float], tuple[float, float]]] = {
    "forward": lambda pace: (WALK * pace, 1.0),
    "backward": lambda pace: (-WALK * pace, 1.0),
    "fast": lambda pace: (FAST * pace, 1.0),
    "slow": lambda pace: (SLOW * pace, 1.0),
    "still": lambda pace: (0.0, 1.0),
    "zoom": lambda pace: (0.0, ZOOM**pace),
}
"""For every motion at a pace around 1: sides of the window that it goes, and what is left of the window's side."""


def _through(frames: NDArray[np.uint8], windows: Sequence[_Window], side: int) -> torch.Tensor:
    """What windows show of frames (t, h, w, 3): (t, 3, side, side) float32 in [0, 1]."""
    height, width = frames.shape[1:3]
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).to("cpu").permute(0, 3, 1, 2).float() / 255
    look = torch.zeros(len(windows), 2, 3, device="cpu")
    for number, window in enumerate(windows):
        look[number, 0, 0], look[number, 0, 2] = window.side / width, 2 * window.x / width - 1
        look[number, 1, 1], look[number, 1, 2] = window.side / height, 2 * window.y / height - 1
    grid = F.affine_grid(look, [len(windows), 3, side, side], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def _resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    picture = torch.from_numpy(np.array(frame)).to("cpu").permute(2, 0, 1)[None].float()
    made: NDArray[np.uint8] = (
        F.interpolate(picture, size, mode="area").round().byte()[0].permute(1, 2, 0).numpy()
    )
    return made
