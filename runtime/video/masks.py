"""Shows the masks that a model makes: classes in colours over the frames, or as colours or numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Session, Trace

STYLES = ("numbers", "colours", "over")
"""Grey levels that are the classes' numbers; their colours; their colours over the frame."""
_SHARE = 0.55
"""How opaque the colour is where it lies over a frame."""


@dataclass(frozen=True)
class Painted:
    """A result whose masks are pictures."""

    outputs: Sequence[Frame]
    trace: Trace


class MaskPainter:
    """A session whose first mask is a picture of the frame's size.

    Args:
        session: makes scores (classes, h, w), of which the largest is a pixel's class; of a single one it is
            class 1 where its score is above 0.
        task: of the model.
        style: one of `STYLES`.
    """

    def __init__(self, session: Session, task: Task, style: str) -> None:
        self._session, self._style = session, style
        self._place = next(place for place, made in enumerate(task.outputs) if made.kind == "mask")
        self._here = task.offsets.index(task.base) if task.base in task.offsets else 0
        self.task = replace(task, outputs=(Made("image", task.outputs[self._place].time),))
        self.in_flight = session.in_flight
        self.looks_back = bool(getattr(session, "looks_back", True))

    def run(self, *frames: Frame) -> Painted:
        """The picture of a call's mask."""
        result = self._session.run(*frames)
        frame = frames[0][self._here] if frames[0].ndim == 4 else frames[self._here]
        return Painted((painted(result.outputs[self._place], frame, self._style),), result.trace)

    def reset(self) -> None:
        """Forget earlier frames."""
        self._session.reset()


def painted(scores: NDArray[Any], frame: Frame, style: str) -> Frame:
    """A mask as a picture.

    Args:
        scores: (classes, h, w) float32.
        frame: (height, width, 3) uint8, that the mask is of; of any size.
        style: one of `STYLES`.
    """
    classes = _enlarged(classes_of(scores), frame.shape[0], frame.shape[1])
    if style == "numbers":
        return np.repeat(classes[..., None], 3, 2)
    colours = palette(max(len(scores), 2))[classes]
    if style == "colours":
        return colours
    blended = np.rint(frame * (1 - _SHARE) + colours * _SHARE).astype(np.uint8)
    return np.where(
        classes[..., None] > 0, blended, frame
    )  # class 0 is mostly the background: the frame stays there


def classes_of(scores: NDArray[Any]) -> NDArray[np.uint8]:
    """Every pixel's class: (classes, h, w) -> (h, w)."""
    best = scores.argmax(0) if len(scores) > 1 else scores[0] > 0
    classes: NDArray[np.uint8] = best.astype(np.uint8)
    return classes


def palette(count: int) -> NDArray[np.uint8]:
    """(count, 3) colours that differ well, by PASCAL VOC's rule: bits of the number, from the lowest, fill the channels from the highest."""
    numbers = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> channel) & 1) << (7 - bit)).astype(np.uint8)
        numbers = numbers >> 3
    return colours


def _enlarged(classes: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The nearest class of every pixel of a larger, or smaller, picture."""
    rows = ((np.arange(height) + 0.5) * classes.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * classes.shape[1] / width).astype(np.intp)
    made: NDArray[np.uint8] = classes[rows][:, columns]
    return made
