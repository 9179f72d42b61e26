"""How often FAN is right, length by length, on motions made of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edgeflow.ir.sampling import evenly
from edgeflow.models.fan import FrameAdaptive
from edgeflow.training.data import Clip
from edgeflow.training.motion import Labelled, Motions, judged_part

FRAMES = 16
SEED = 20


@dataclass(frozen=True)
class FanScore:
    """Scores of one clip.

    Attributes:
        clip: file name.
        motions: scored.
        right: by the length of the sub-network: the share of motions that it names, shown as many frames.
        unadapted: the same by the sub-network of the longest length: what a plain network loses at other lengths.
    """

    clip: str
    motions: int
    right: Mapping[str, float]
    unadapted: Mapping[str, float]


def evaluate(model: FrameAdaptive, clip: Clip, whole: bool, most: int = 60) -> FanScore:
    """Score a model on motions made of a clip, the same for every model.

    Args:
        model: trained.
        clip: of any size.
        whole: make motions of all of it, as fits one held out, and not of its last fifth.
        most: motions scored.

    Raises:
        TrainError: the part is shorter than a motion.
    """
    model.eval()
    side = model.inputs[0].shape[-1]
    assert isinstance(side, int)
    drawn = Motions((judged_part(clip, whole, side),), FRAMES, side, np.random.default_rng(SEED)).draw(most)
    lengths = [int(length) for length in model.frames.values]
    longest = max(lengths)
    return FanScore(
        clip.name,
        most,
        {str(frames): right(model, drawn, frames, frames) for frames in lengths},
        {str(frames): right(model, drawn, frames, longest) for frames in (4, 8, 16)},
    )


@torch.no_grad()
def right(model: FrameAdaptive, drawn: Labelled, frames: int, length: int) -> float:
    """The share of motions named right from so many frames by the sub-network of a length."""
    shown = drawn.clips[:, evenly(drawn.clips.shape[1], frames)]
    said = torch.cat([model.classify(part, length).argmax(1) for part in torch.split(shown, 12)])
    return float((said == drawn.labels).float().mean())
