"""How good a trained CAIN-SD is, which routes it takes and what they cost, clip by clip.

Every second frame is left out, predicted from its neighbours and compared at half size (area
filter), so that a codec's noise is not what is scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from edgeflow.flow import Eager, cost
from edgeflow.ir.errors import TrainError
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import Choice, describe
from edgeflow.models.cain_sd import CAINSD, WholeFrame
from edgeflow.training.data import BLOCK, Clip
from edgeflow.training.losses import psnr

MOVING = 4.0
"""Blocks whose luma changes by more than this between the outer frames count as moving (0..255)."""


@dataclass(frozen=True)
class Quality:
    """Means over the pictures of a clip.

    Attributes:
        psnr: in dB.
        ssim: structural similarity of the RGB picture.
        moving: PSNR over the blocks that move, in dB; None where none does.
    """

    psnr: float
    ssim: float
    moving: float | None


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip.

    Attributes:
        clip: file name.
        triplets: pictures predicted.
        routed: the model as it routes.
        full: the same model at scale 1 and full depth on every tile.
        average: the mean of the two frames.
        routes: tiles that took each route, such as `exit=2,scale=1`.
        flops_routed: per frame, with the SD-finder and the tiles' overlap.
        flops_full: per frame, of the static interpolator on the whole frame.
    """

    clip: str
    triplets: int
    routed: Quality
    full: Quality
    average: Quality
    routes: dict[str, int]
    flops_routed: float
    flops_full: float


def evaluate(model: CAINSD, clip: Clip, whole: bool, most: int = 8) -> ClipScore:
    """Score a model on a clip.

    Args:
        model: trained.
        clip: any; frames across a scene cut are passed over.
        whole: score the whole clip, as fits one held out, and not only its validation part.
        most: triplets predicted, evenly spread.
    """
    model.eval()
    routed = Eager(model)
    full = Eager(model, fixed={"scale": 1, "exit": model.exit.values[-1]})
    scores = {"routed": Scores(), "full": Scores(), "average": Scores()}
    routes: Counter[str] = Counter()
    chosen = _triplets(clip, whole, most)
    for first in chosen:
        frame0, target, frame1 = (picture_of(clip.frames[first + i]) for i in range(3))
        moving = torch.from_numpy(clip.activity[first] > MOVING)
        result = routed(frame0, frame1)
        routes.update(_routes(result.routes))
        pictures = {
            "routed": result.outputs[0],
            "full": full(frame0, frame1).outputs[0],
            "average": (frame0 + frame1) / 2,
        }
        for name, picture in pictures.items():
            scores[name].add(picture, target, moving)
    height, width = clip.frames.shape[1:3]
    size = {"height": height, "width": width}
    return ClipScore(
        clip.name,
        len(chosen),
        routed=scores["routed"].quality(),
        full=scores["full"].quality(),
        average=scores["average"].quality(),
        routes=dict(sorted(routes.items())),
        flops_routed=_flops(model, size, routes, len(chosen)) / len(chosen),
        flops_full=float(sum(call.flops for call in cost(WholeFrame(model), size).calls)),
    )


class Scores:
    """Collects the scores of a clip's pictures."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._moving: list[torch.Tensor] = []

    def add(self, picture: torch.Tensor, target: torch.Tensor, moving: torch.Tensor) -> None:
        """Score a picture (1, 3, h, w); `moving` (rows, columns) says which blocks of 32 pixels moved."""
        picture, target = (F.avg_pool2d(x.clamp(0, 1), 2) for x in (picture, target))
        self._psnr.append(psnr(picture, target))
        seen, wanted = (x[0].permute(1, 2, 0).numpy() for x in (picture, target))
        window = min(7, min(seen.shape[:2]) // 2 * 2 - 1)
        options = {"win_size": window, "channel_axis": 2, "data_range": 1.0}
        self._ssim.append(float(structural_similarity(seen, wanted, **options)))  # type: ignore[no-untyped-call]
        side = BLOCK // 2
        rows, columns = moving.shape
        mask = moving.repeat_interleave(side, 0).repeat_interleave(side, 1)
        error = (picture - target)[0, :, : rows * side, : columns * side]
        self._moving.append(error[:, mask[: error.shape[1], : error.shape[2]]].square().flatten())

    def quality(self) -> Quality:
        """Means of what was added."""
        errors = torch.cat(self._moving)
        moving = psnr(errors.sqrt(), torch.zeros_like(errors)) if len(errors) else None
        return Quality(float(np.mean(self._psnr)), float(np.mean(self._ssim)), moving)


def _triplets(clip: Clip, whole: bool, most: int) -> list[int]:
    """First frames of evenly spread triplets without a scene cut.

    Raises:
        TrainError: there is none.
    """
    start = 0 if whole else clip.split
    possible = [t for t in range(start, len(clip.frames) - 2) if clip.continuous(t, t + 2)]
    if not possible:
        raise TrainError(f"cannot score {clip.name}: no three of its last frames lie in one scene")
    picked = np.linspace(0, len(possible) - 1, min(most, len(possible))).astype(int)
    return [possible[i] for i in picked]


def picture_of(frame: NDArray[np.uint8]) -> torch.Tensor:
    """(height, width, 3) uint8 -> (1, 3, height, width) float32 in [0, 1]."""
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1).unsqueeze(0).float() / 255


def _routes(chosen: Mapping[str, Sequence[Choice]]) -> list[str]:
    """Each tile's route as `exit=2,scale=1`."""
    names = sorted(chosen)
    rows = zip(*(chosen[name] for name in names), strict=True)
    return [describe(tuple(zip(names, row, strict=True))) for row in rows]


def _flops(model: CAINSD, size: Mapping[str, int], routes: Mapping[str, int], frames: int) -> float:
    """FLOPs of tiles that took these routes and of the SD-finder on so many frames."""
    counted = cost(model, size)
    finder = sum(call.flops for call in counted.calls if call.regions == FRAME)
    table = counted.table("tiles")
    return float(finder * frames + sum(table[route] * count for route, count in routes.items()))
