"""Clips as RGB at 8 bits and back, and frames as arrays and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

_UNSTATED = 2
_BT709, _BT601 = 1, 6
_LINES = 720
"""Players take a picture of fewer lines, whose matrix is not stated, for BT.601."""


@dataclass(frozen=True)
class Format:
    """How a clip's frames stand for RGB, by its first frame.

    Attributes:
        given: arguments of VapourSynth's resizer that say what the clip is.
        wanted: those that make of RGB what the clip is; None of a clip of RGB at 8 bits.
    """

    given: dict[str, Any]
    wanted: dict[str, Any] | None

    @staticmethod
    def of(clip: vs.VideoNode) -> Format:
        """The format of a clip; decodes its first frame."""
        if clip.format.id == vs.RGB24:
            return Format({}, None)
        wanted: dict[str, Any] = {"format": clip.format.id}
        if clip.format.color_family == vs.RGB:
            return Format({}, wanted)
        props = clip.get_frame(0).props
        matrix = props.get("_Matrix", _UNSTATED)
        if matrix in (_UNSTATED, vs.MATRIX_RGB):
            matrix = _BT709 if clip.height >= _LINES else _BT601
        wanted["matrix"] = matrix
        if "_ChromaLocation" in props:
            wanted["chromaloc"] = props["_ChromaLocation"]
        if "_Range" in props:
            wanted["range"] = props["_Range"]
        elif (
            "_ColorRange" in props
        ):  # the name until release 72, where full and limited had each other's number
            wanted["range"] = 1 - int(props["_ColorRange"])
        return Format({"matrix_in": matrix}, wanted)

    def to_rgb(self, clip: vs.VideoNode) -> vs.VideoNode:
        """The clip as RGB at 8 bits, full range."""
        if self.wanted is None:
            return clip
        return clip.resize.Bicubic(format=vs.RGB24, **self.given)

    def from_rgb(self, rgb: vs.VideoNode) -> vs.VideoNode:
        """RGB at 8 bits in the clip's format."""
        if self.wanted is None:
            return rgb
        return rgb.resize.Bicubic(**self.wanted)


def pixels(frame: vs.VideoFrame) -> NDArray[np.uint8]:
    """A frame of RGB at 8 bits as (h, w, 3) uint8."""
    made = np.empty((frame.height, frame.width, 3), np.uint8)
    for plane in range(3):
        made[..., plane] = np.asarray(frame[plane])
    return made


def put_pixels(picture: NDArray[np.uint8], frame: vs.VideoFrame) -> None:
    """Write (h, w, 3) uint8 into a frame of RGB at 8 bits that may be written to."""
    for plane in range(3):
        np.asarray(frame[plane])[...] = picture[..., plane]
