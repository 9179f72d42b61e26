"""Doubling a picture by the 8-tap filter of video codecs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeflow.ir.errors import FlowError

HALFWAY = torch.tensor([-1.0, 4, -11, 40, 40, -11, 4, -1]) / 64
"""The value halfway between the fourth and the fifth of eight samples."""
LEAST = 5
"""Height and width of the smallest picture: 4 pixels beside its last are mirrored."""


def upsample8(image: Tensor, filter: Tensor) -> Tensor:
    """Twice the picture's height and width: its samples at even places, the 8-tap filter's halfway between.

    Samples between four others are filtered down first, then across.

    Args:
        image: (n, c, h, w) float, at least 5 pixels high and wide; it is mirrored at its border.
        filter: (c, 1, 1, 8), `HALFWAY` for every channel.

    Returns:
        (n, c, 2 h, 2 w).

    Raises:
        FlowError: a smaller picture.

    Source: ST-MFNet (CVPR 2022), section 3.1; the filter is HEVC's for half samples.
    """
    n, c, height, width = image.shape
    if min(height, width) < LEAST:
        raise FlowError(f"upsample8: the picture is {height}x{width}; wanted {LEAST} pixels a side or more")
    down = _halfway(image, filter.transpose(2, 3), (0, 0, 3, 4))
    tall = torch.stack([image, down], 3).reshape(n, c, 2 * height, width)
    across = _halfway(tall, filter, (3, 4, 0, 0))
    return torch.stack([tall, across], 4).reshape(n, c, 2 * height, 2 * width)


def _halfway(image: Tensor, filter: Tensor, border: tuple[int, int, int, int]) -> Tensor:
    """Between each sample and the next, along the filter; like `image`."""
    return F.conv2d(F.pad(image, border, mode="reflect"), filter, groups=image.shape[1])
