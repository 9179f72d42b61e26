"""Sample inputs for goldens, when no clip is given: a textured picture with moving squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.program import Image, Interface


def moving_picture(height: int, width: int, time: int) -> NDArray[np.uint8]:
    """Frame `time` of a synthetic clip: (height, width, 3) uint8."""
    blocks = np.random.default_rng(1).integers(40, 215, (-(-height // 6), -(-width // 6), 3))
    frame = blocks.repeat(6, 0).repeat(6, 1)[:height, :width].copy()
    for i, (speed, size) in enumerate(((2, 24), (7, 40), (15, 18))):
        top = (height * (i + 1) // 4 + time * speed) % max(height - size, 1)
        left = (width * (i + 1) // 5 + 2 * time * speed) % max(width - size, 1)
        frame[top : top + size, left : left + size] = (60 + 60 * i, 200 - 50 * i, 90)
    return frame.astype(np.uint8)


def sample_calls(
    inputs: Sequence[Interface],
    size: tuple[int, int],
    count: int,
    frames: Sequence[NDArray[np.uint8]] = (),
) -> list[list[NDArray[Any]]]:
    """Inputs of `count` successive calls.

    Args:
        inputs: the program's inputs; images of one call follow each other in time.
        size: (height, width) for images whose size is free.
        count: number of calls.
        frames: real frames to use where they suffice; cropped to the size around their middle.
    """
    random = np.random.default_rng(2)
    calls = []
    for time in range(count):
        call: list[NDArray[Any]] = []
        for i, spec in enumerate(inputs):
            if isinstance(spec, Image):
                height = spec.height if isinstance(spec.height, int) else size[0]
                width = spec.width if isinstance(spec.width, int) else size[1]
                call.append(_picture(frames, time + i, height, width))
            else:
                shape = [d if isinstance(d, int) else 8 for d in spec.shape]
                call.append(random.random(shape, dtype=np.float32))
        calls.append(call)
    return calls


def _picture(frames: Sequence[NDArray[np.uint8]], time: int, height: int, width: int) -> NDArray[np.uint8]:
    if time < len(frames) and frames[time].shape[0] >= height and frames[time].shape[1] >= width:
        top = (frames[time].shape[0] - height) // 2
        left = (frames[time].shape[1] - width) // 2
        return np.ascontiguousarray(frames[time][top : top + height, left : left + width])
    return moving_picture(height, width, time)
