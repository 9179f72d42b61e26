"""Frames of a clip, for commands that look at one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import VideoError


def first_frames(
    path: Path, count: int, resize: Callable[[int, int], tuple[int, int]] | None = None
) -> list[NDArray[np.uint8]]:
    """The first frames of a video: each (h, w, 3) uint8 RGB.

    Args:
        path: of the video.
        count: frames wanted.
        resize: the (height, width) to give frames of this height and width at; as they are if None.

    Raises:
        VideoError: the video cannot be read, or has fewer than two frames.
    """
    from edgeflow.runtime.video.reader import VideoReader

    with VideoReader(path, resize) as reader:
        frames: list[Any] = [np.array(frame) for frame in islice(reader, count)]
    if len(frames) < 2:
        raise VideoError(f"{path} has {len(frames)} frames: give a clip of two or more")
    return frames
