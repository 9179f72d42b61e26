"""Frames of a clip and their size, as commands take them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError, VideoError


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
    from edgeflow.runtime.video.reading.reader import VideoReader

    with VideoReader(path, resize) as reader:
        frames: list[Any] = [np.array(frame) for frame in islice(reader, count)]
    if len(frames) < 2:
        raise VideoError(f"{path} has {len(frames)} frames: give a clip of two or more")
    return frames


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from `WIDTHxHEIGHT`.

    Raises:
        InputError: it says something else.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or int(match[1]) < 2 or int(match[2]) < 2:
        raise InputError(f"--size {text}: give WIDTHxHEIGHT in pixels, for example 1280x720")
    return int(match[2]), int(match[1])
