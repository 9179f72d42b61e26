"""A clip to tune on: what a network reads of it, and what it makes of that on whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeflow.flow.tensors import to_tensor
from edgeflow.wrap.network import Network

Picture = NDArray[np.float32]
Frames = Sequence[NDArray[np.uint8]]
LEVELS = 255.0


@dataclass(frozen=True)
class Film:
    """A clip and what the network makes of it.

    Attributes:
        calls: the frames of every call, (h, w, 3) uint8 each.
        static: what the network makes of whole frames, (c, scale * h, scale * w) each.
        half: the same at half the size.
        truth: what it should make; empty if that is not known.
        peak: range of what it makes, 1 of pictures.
    """

    calls: tuple[tuple[NDArray[np.uint8], ...], ...]
    static: tuple[Picture, ...]
    half: tuple[Picture, ...]
    truth: tuple[Picture, ...]
    peak: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its frames."""
        height, width = self.calls[0][0].shape[:2]
        return height, width

    def squared(self, made: Picture, other: Picture) -> Picture:
        """Squared differences of two pictures, or of the same part of two, in levels of 255: (h, w)."""
        squares: Picture = np.square((made - other) * (LEVELS / self.peak)).mean(0)
        return squares


@torch.no_grad()
def with_detail(
    network: Network,
    calls: Sequence[Sequence[NDArray[np.uint8]]],
    plain: Sequence[Picture],
    static: Sequence[Picture],
) -> tuple[float, tuple[Picture, ...]]:
    """How much of what half the size loses of a frame belongs into the picture, and the pictures with that.

    Args:
        network: whose pictures they are.
        calls: the frames of every call.
        plain: pictures made at half the size.
        static: at full size.

    Returns:
        From 0 to 1, by least squares, and what is made at half the size then.
    """
    if not network.form.picture:
        return 0.0, tuple(plain)
    lost = [network.lost_of_any_size(to_tensor(call[-1]))[0].numpy() for call in calls]
    above = sum(float(((a - b) * c).sum()) for a, b, c in zip(static, plain, lost, strict=True))
    below = sum(float(np.square(each).sum()) for each in lost)
    detail = min(max(above / max(below, 1e-9), 0.0), 1.0)
    put_back = [(detail * each).astype(np.float32) for each in lost]
    return detail, tuple(a + b for a, b in zip(plain, put_back, strict=True))


def blocks(squares: Picture, scale: int, side: int = 8) -> Tensor:
    """Means over squares of 8x8 pixels of the frame, of a plane of a picture: (rows, columns)."""
    return F.avg_pool2d(
        torch.from_numpy(np.ascontiguousarray(squares))[None, None], side * scale, ceil_mode=True
    )[0, 0]
