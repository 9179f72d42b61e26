"""How near a model brings darkened frames to the bright ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.training.data import Clip
from edgeflow.training.losses import psnr
from edgeflow_brighten.model import Brighten
from edgeflow_brighten.training import DARK


@dataclass(frozen=True)
class Score:
    """Scores of one clip.

    Attributes:
        clip: file name.
        frames: scored.
        made: PSNR in dB of the pictures made.
        dark: of the frames given.
        deep: share of the tiles that went deep.
    """

    clip: str
    frames: int
    made: float
    dark: float
    deep: float


def evaluate(model: Brighten, clip: Clip, whole: bool, most: int = 8) -> Score:
    """Score a model on a clip's last part, or on all of it."""
    eager = Eager(model.eval())
    made, dark, deep = [], [], []
    for number in range(0 if whole else clip.split, len(clip.frames))[:most]:
        wanted = to_tensor(np.array(clip.frames[number]))
        result = eager(DARK * wanted)
        made.append(psnr(result.outputs[0], wanted))
        dark.append(psnr(DARK * wanted, wanted))
        deep += result.routes["deep"]
    return Score(clip.name, len(made), float(np.mean(made)), float(np.mean(dark)), float(np.mean(deep)))
