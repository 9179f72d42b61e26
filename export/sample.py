"""Calls to make goldens and calibrate with: of a clip where there is one, else of a textured picture with moving squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.film import calls_of
from edgeflow.ir.interface import Interface
from edgeflow.ir.task import Task, default_task

UNKNOWN = 8
"""What a free dimension of a tensor is, of which nothing is known."""


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
    task: Task | None = None,
) -> list[list[NDArray[Any]]]:
    """Inputs of `count` successive calls, each a frame after the last.

    Args:
        inputs: the program's inputs; images of one call follow each other in time as its task says.
        size: (height, width) for images whose size is free.
        count: number of calls.
        frames: real frames to use where they suffice; cropped to the size around their middle.
        task: of the program; what its inputs suggest if not given.
    """
    task = task or default_task(inputs, ())
    random = np.random.default_rng(2)
    calls = []
    for time in range(count):
        call: list[NDArray[Any]] = []
        for i, spec in enumerate(inputs):
            if task.timed and i == len(inputs) - 1:
                call.append(np.array([task.outputs[0].time], np.float32))
                continue
            if not spec.image:
                shape = [d if isinstance(d, int) else UNKNOWN for d in spec.shape]
                call.append(random.random(shape, dtype=np.float32))
                continue
            times = _times(task, spec, i)
            pictures = tuple(_picture(frames, time + t, *_size(spec, size)) for t in times)
            call += [np.stack(pictures)] if task.clip else pictures
        calls.append(call)
    return calls


def film_calls(
    inputs: Sequence[Interface], task: Task, frames: Sequence[NDArray[np.uint8]]
) -> list[tuple[NDArray[Any], ...]]:
    """The calls of a program on a real clip, cropped around its middle where the program fixes a size.

    Args:
        inputs: the program's inputs, no larger than the frames.
        task: of the program.
        frames: of the clip (h, w, 3) uint8.

    Raises:
        InputError: the program takes more than frames.
    """
    size = _size(inputs[0], (frames[0].shape[0], frames[0].shape[1]))
    return list(calls_of(task, (_cropped(frame, *size) for frame in frames)))


def _times(task: Task, spec: Interface, position: int) -> Sequence[int]:
    """The frames that an input of a call shows, counted from its earliest."""
    first = min(task.offsets, default=0)
    if task.clip:
        length = spec.shape[0]
        return range(length if isinstance(length, int) else len(task.offsets))
    return [task.offsets[position] - first if task.offsets else position]


def _size(spec: Interface, free: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of an image, those given where its own are free."""
    height, width = spec.shape[-2:]
    return height if isinstance(height, int) else free[0], width if isinstance(width, int) else free[1]


def _picture(frames: Sequence[NDArray[np.uint8]], time: int, height: int, width: int) -> NDArray[np.uint8]:
    if time < len(frames) and frames[time].shape[0] >= height and frames[time].shape[1] >= width:
        return _cropped(frames[time], height, width)
    return moving_picture(height, width, time)


def _cropped(frame: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) pixels around a frame's middle."""
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return np.ascontiguousarray(frame[top : top + height, left : left + width])
