"""How good shortcut frames are, clip by clip: against the teacher's frames and against the last key frame's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from edgeflow.flow import Eager
from edgeflow.ir.errors import TrainError
from edgeflow.models.shortcut_v2v import ShortcutV2V, Teacher
from edgeflow.training.data import Clip
from edgeflow.training.losses import psnr


@dataclass(frozen=True)
class Likeness:
    """How like the teacher's frames some frames are, shortcut frames only: means.

    Attributes:
        psnr: in dB.
        ssim: structural similarity of the RGB picture.
        change: mean change from each frame to the next over the teacher's; 1 is as lively as the teacher.
        flicker: mean difference between its change and the teacher's, in levels of 255.
    """

    psnr: float
    ssim: float
    change: float
    flicker: float


@dataclass(frozen=True)
class ShortcutScore:
    """Scores of one clip.

    Attributes:
        clip: file name.
        frames: scored, key frames included.
        interval: frames from one key frame to the next.
        shortcut: frames as the model makes them.
        copied: the last key frame's picture, repeated. Decoding the key frame's f again gives the same.
        teacher_psnr: of the teacher's frames against the clip's, in dB: what the paired task is worth.
    """

    clip: str
    frames: int
    interval: int
    shortcut: Likeness
    copied: Likeness
    teacher_psnr: float


def evaluate(model: ShortcutV2V, clip: Clip, whole: bool, most: int = 48) -> ShortcutScore:
    """Score a model on successive frames of a clip, with the model's own key frames.

    Args:
        model: trained.
        clip: of the model's size.
        whole: score from the clip's start, as fits one held out, and not from its validation part.
        most: frames scored.

    Raises:
        TrainError: fewer frames lie in one scene than a key frame's interval.
    """
    model.eval()
    pictures = list(_frames(clip, 0 if whole else clip.split, most))
    if len(pictures) <= model.interval:
        raise TrainError(f"cannot score {clip.name}: only {len(pictures)} of its frames lie in one scene")
    routed, teacher = Eager(model), Eager(Teacher(model))
    wanted: list[torch.Tensor] = []
    made: list[torch.Tensor] = []
    copied: list[torch.Tensor] = []
    shortcut: list[bool] = []
    for picture in pictures:
        wanted.append(teacher(picture).outputs[0].clamp(0, 1))
        result = routed(picture)
        made.append(result.outputs[0].clamp(0, 1))
        shortcut.append(result.routes["mode"] == ["shortcut"])
        copied.append(copied[-1] if shortcut[-1] else made[-1])
    return ShortcutScore(
        clip.name,
        len(pictures),
        model.interval,
        _likeness(made, wanted, shortcut),
        _likeness(copied, wanted, shortcut),
        float(np.mean([psnr(w, p) for w, p in zip(wanted, pictures, strict=True)])),
    )


def _frames(clip: Clip, start: int, most: int) -> Iterator[torch.Tensor]:
    """Frames (1, 3, h, w) in [0, 1] up to the first scene cut."""
    for number in range(start, min(start + most, len(clip.frames))):
        if number > start + 1 and not clip.continuous(number - 2, number):
            return
        yield to_picture(clip.frames[number])


def to_picture(frame: NDArray[np.uint8]) -> torch.Tensor:
    """(height, width, 3) uint8 -> (1, 3, height, width) float32 in [0, 1]."""
    return torch.from_numpy(np.array(frame)).permute(2, 0, 1).unsqueeze(0).float() / 255


def _likeness(
    made: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], counted: Sequence[bool]
) -> Likeness:
    chosen = [i for i, count in enumerate(counted) if count]
    changes = [(made[i] - made[i - 1], wanted[i] - wanted[i - 1]) for i in range(1, len(made))]
    own, teachers = (sum(float(pair[k].abs().mean()) for pair in changes) for k in (0, 1))
    return Likeness(
        psnr=float(np.mean([psnr(made[i], wanted[i]) for i in chosen])),
        ssim=float(np.mean([_ssim(made[i], wanted[i]) for i in chosen])),
        change=own / max(teachers, 1e-9),
        flicker=float(np.mean([255 * float((a - b).abs().mean()) for a, b in changes])),
    )


def _ssim(picture: torch.Tensor, target: torch.Tensor) -> float:
    seen, wanted = (x[0].permute(1, 2, 0).numpy() for x in (picture, target))
    return float(structural_similarity(seen, wanted, channel_axis=2, data_range=1.0))  # type: ignore[no-untyped-call]
