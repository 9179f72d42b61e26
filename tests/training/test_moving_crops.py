"""Small crops of wide ones."""

import numpy as np
import torch

from edgeflow.training import moving_crops
from edgeflow.training.moving_crops import SIDE, MovingCrops


class Corners:
    """Wide windows of which a quarter moves, its shades told by their number."""

    def __init__(self):
        self.drawn = 0

    def crops(self, count):
        self.drawn += 1
        frames = torch.full((5, count, 3, 4 * SIDE, 4 * SIDE), self.drawn / 100)
        frames[3, ..., 3 * SIDE :] += 0.5
        return frames


def brighter(before, first, second, after):
    assert first.shape == (1, 3, 4 * SIDE, 4 * SIDE)  # a teacher sees the wide window
    return first + 0.25


def test_what_moves_is_drawn_more_often_and_wide_crops_are_made_once(monkeypatch):
    monkeypatch.setattr(moving_crops, "ENOUGH", 3)
    wide = Corners()
    drawn = MovingCrops(wide, None, np.random.default_rng(0)).draw(40)
    assert drawn.shape == (5, 40, 3, SIDE, SIDE) and wide.drawn == 1
    moving = (drawn[3] - drawn[1]).amax((1, 2, 3)) > 0
    assert 0.4 < moving.float().mean() < 0.8  # a third of all places, of which the better of two is taken
    crops = MovingCrops(wide, brighter, np.random.default_rng(0))
    for _ in range(6):
        shown = crops.draw(8)
    assert wide.drawn == 4 and shown.shape == (6, 8, 3, SIDE, SIDE)
    torch.testing.assert_close(shown[5], shown[1] + 0.25)
    assert len(shown[0].unique()) > 1
