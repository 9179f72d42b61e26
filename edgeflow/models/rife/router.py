"""Guesses how wrong each way to a picture would be, all over the frame, for a thousandth of the network's work."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.flow.measures import evenly

CANVAS = (288, 512)
"""Rows and columns of a frame that it looks at, the longer side along the frame's; they are picked evenly."""
CELL = 8
"""Side of the squares that it judges, in pixels of the canvas."""
PARTS = (6, 10)
"""Rows and columns of parts of the frame by which it is decided whether parts pay at all."""
STILL = 1.0
"""Squared levels that are taken for right: a guess of less is a guess at noise."""


class Router(nn.Module):
    """Squared errors to expect of every way, by which a frame and its tiles are routed.

    Where two frames differ by so much, their average is wrong by about half of that; a small network says how far off this is, for
    every way.

    Args:
        ways: that a tile may take; the first is the frames' average. Errors are also guessed of the whole frame.
        width: channels.
    """

    def __init__(self, ways: int, width: int = 16) -> None:
        super().__init__()
        self.enter = nn.Conv2d(7, width, 3, 2, 1)
        self.second = nn.Conv2d(width, width, 3, 2, 1)
        self.mix = nn.Conv2d(width + 2, width, 1)
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 2, 2), nn.ReLU()
        )
        self.leave = nn.Conv2d(width, ways + 1, 1)

    def forward(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Scores for tiles, a map (1, ways, rows, columns), and for the frame, (1, (ways + 1) x parts): minus the squared errors.

        Args:
            frame0: (1, 3, h, w) in [0, 1].
            frame1: the same.
        """
        turned = frame0.shape[-2] > frame0.shape[-1]
        canvas, parts = (each[::-1] if turned else each for each in (CANVAS, PARTS))
        scores = -self.errors(frame0, frame1, canvas)
        return scores[:, :-1], F.adaptive_avg_pool2d(scores, parts).flatten(1)

    def errors(self, frame0: Tensor, frame1: Tensor, canvas: tuple[int, int]) -> Tensor:
        """Mean squared errors to expect, in squared levels of 255: (n, ways + 1, rows / 8, columns / 8), of the whole frame last.

        Args:
            frame0: (n, 3, h, w) in [0, 1].
            frame1: the same.
            canvas: rows and columns that are looked at, multiples of 8.
        """
        first, second, change = paired(frame0, frame1, canvas)
        change = change * 255**2
        seen = torch.cat((first, second, torch.log(change + STILL) / 4), 1)
        features = F.relu(self.second(F.relu(self.enter(seen))))
        cells = torch.log(F.avg_pool2d(change, 4) + STILL)
        most = torch.log(F.max_pool2d(change, 4) + STILL)
        features = F.relu(self.mix(torch.cat((features, cells / 4, most / 4), 1)))
        beyond = self.leave(features + self.body(features))
        return torch.exp((cells - math.log(4) + beyond).clamp(-4, 10))


def paired(frame0: Tensor, frame1: Tensor, canvas: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Both frames and the mean square of their difference, in means of two by two pixels of those that are evenly picked.

    Picking single pixels takes most of a router's time, and so do loops over three channels. So whole rows are picked, and of pictures on their
    side whole columns; pairs are added at once; and rows are one long dimension.

    Args:
        frame0: (n, 3, h, w).
        frame1: the same.
        canvas: rows and columns of what is picked.

    Returns:
        (n, 3, rows / 2, columns / 2) twice, and (n, 1, rows / 2, columns / 2).
    """
    rows, columns = (evenly(side, count) for side, count in zip(frame0.shape[-2:], canvas, strict=True))
    frames = [frame.permute(0, 2, 3, 1) for frame in (frame0, frame1)]
    above, below = (
        [frame.index_select(1, half).flatten(2) for frame in frames] for half in (rows[::2], rows[1::2])
    )
    first, second = (one + other for one, other in zip(above, below, strict=True))
    change = (above[0] - above[1]).square() + (below[0] - below[1]).square()
    turned = torch.cat((first, second, change), 1).transpose(1, 2)  # (n, w x 3, 3 x rows / 2)
    turned = turned.reshape(len(turned), -1, 3 * turned.shape[2])
    picked = turned.index_select(1, columns[::2]) + turned.index_select(1, columns[1::2])
    # (n, channels, frames and change, rows / 2, columns / 2)
    upright = (picked / 4).transpose(1, 2).reshape(len(picked), 3, 3, canvas[0] // 2, canvas[1] // 2)
    one, other, squares = upright.unbind(2)
    return one, other, squares.mean(1, keepdim=True)
