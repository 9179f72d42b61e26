"""Turns and mirrors pictures as a film's header asks players to.

Source: ISO/IEC 14496-12, 8.3.2 (the matrix of a track header); FFmpeg, libavutil/display.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is shown: its axes may be swapped, and then either flipped.

    Attributes:
        swapped: rows become columns.
        flip_x: left and right, of what is shown.
        flip_y: top and bottom, of what is shown.
    """

    swapped: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def stands(self) -> bool:
        """Whether pictures are shown as they are stored."""
        return self == Orientation()

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) as shown."""
        return (width, height) if self.swapped else (height, width)

    def apply(self, frame: NDArray[np.generic]) -> NDArray[np.generic]:
        """A picture (h, w, c) as it is shown, contiguous."""
        shown = frame.transpose(1, 0, 2) if self.swapped else frame
        shown = shown[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return np.ascontiguousarray(shown)

    def __str__(self) -> str:
        if self.swapped:
            return "turned" if self.flip_x != self.flip_y else "turned and mirrored"
        return "turned by 180 degrees" if self.flip_x and self.flip_y else "mirrored"


def side_data(picture: VideoFrame) -> list[Any]:
    """What a decoded picture carries beside it; PyAV's stubs take it for a mapping, which it is by name too."""
    return list(picture.side_data)


def orientation_of(picture: VideoFrame) -> Orientation:
    """What the display matrix of a decoded picture asks for; multiples of 90 degrees alone."""
    for data in side_data(picture):
        if getattr(data.type, "name", "") == "DISPLAYMATRIX":
            matrix = bytes(data)
            if len(matrix) >= 36:
                return _of_matrix(*struct.unpack("=9i", matrix[:36]))
    return Orientation()


def _of_matrix(a: int, b: int, u: int, c: int, d: int, *rest: int) -> Orientation:
    """Shown x is a x + c y, shown y is b x + d y of the stored x and y."""
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)
