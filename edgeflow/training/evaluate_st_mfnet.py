"""How good a trained ST-MFNet is beside the average of both middle frames, clip by clip.

Every second frame is left out and predicted from the two before it and the two after.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch

from edgeflow.flow import Eager
from edgeflow.ir.errors import TrainError
from edgeflow.models.st_mfnet import Interpolator
from edgeflow.training.data import Clip
from edgeflow.training.evaluate import MOVING, Quality, Scores, picture_of
from edgeflow.training.samples import Window


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip.

    Attributes:
        clip: file name.
        pictures: predicted.
        made: the model's.
        average: the mean of the two frames.
        routes: how often a pair took each network, for frames or tiles; empty of one network.
    """

    clip: str
    pictures: int
    made: Quality
    average: Quality
    routes: dict[str, int]


def evaluate(model: Interpolator, clip: Clip, whole: bool, most: int = 8) -> ClipScore:
    """Score a model on a clip.

    Args:
        model: trained.
        clip: any; windows across a scene cut are passed over.
        whole: score the whole clip, as fits one held out, and not only its validation part.
        most: pictures predicted, evenly spread.

    Raises:
        TrainError: no window of the clip lies in one scene.
    """
    eager = Eager(model.eval())
    made, average = Scores(), Scores()
    routes: Counter[str] = Counter()
    chosen = windows(clip, whole, most)
    for window in chosen:
        before, first, target, second, after = (picture_of(clip.frames[number]) for number in window.frames)
        moving = torch.from_numpy(clip.activity[window.first] > MOVING)
        result = eager(before, first, second, after)
        routes.update(str(value) for values in result.routes.values() for value in values)
        made.add(result.outputs[0], target, moving)
        average.add((first + second) / 2, target, moving)
    return ClipScore(clip.name, len(chosen), made.quality(), average.quality(), dict(routes))


def windows(clip: Clip, whole: bool, most: int) -> list[Window]:
    """The windows that are scored, evenly spread; arguments and errors are those of `evaluate`."""
    before, after = -Window.steps[0], Window.steps[-1]
    start = 0 if whole else clip.split
    possible = [
        first
        for first in range(start + before, len(clip.frames) - after)
        if clip.continuous(first - before, first + after)
    ]
    if not possible:
        raise TrainError(
            f"cannot score {clip.name}: no {before + after + 1} of its last frames lie in one scene"
        )
    picked = np.linspace(0, len(possible) - 1, min(most, len(possible))).astype(int)
    return [Window(clip, possible[i], 1) for i in picked]
