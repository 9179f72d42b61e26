from itertools import pairwise

import numpy as np
import pytest

from edgeflow.runtime.video.scene import Cuts, is_cut


def test_another_scene_is_a_cut(moving):
    assert is_cut(moving(1, 320, 240, seed=1)[0], moving(1, 320, 240, seed=2)[0])


def test_a_picture_after_black_is_a_cut(moving):
    frame = moving(1, 320, 240)[0]
    assert is_cut(np.zeros_like(frame), frame)


def test_a_dark_scene_after_another_is_a_cut(moving):
    first, second = (moving(1, 320, 240, seed=seed)[0] // 6 for seed in (1, 2))
    assert is_cut(first, second)


@pytest.mark.parametrize("pixels", [0, 2, 8, 12])
def test_fast_motion_is_no_cut(moving, pixels):
    frames = moving(20, 320, 240)  # two pixels a frame
    assert not is_cut(frames[0], frames[pixels // 2])


def test_a_fast_object_is_no_cut(moving):
    before = moving(1, 320, 240)[0].copy()
    after = before.copy()
    before[80:140, 20:80] = 255
    after[80:140, 60:120] = 255
    assert not is_cut(before, after)


def test_noise_in_the_dark_is_no_cut():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 25, (240, 320, 3), np.uint8) for _ in range(2))
    assert not is_cut(first, second)


def test_a_slow_fade_is_no_cut(moving):
    frame = moving(1, 320, 240)[0]
    faded = [(frame * share).astype(np.uint8) for share in np.linspace(0, 1, 26)]
    assert not any(is_cut(a, b) for a, b in pairwise(faded))


@pytest.mark.parametrize("shape", [(1, 1, 3), (4, 200, 3), (240, 16, 3)])
def test_any_size(shape):
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert not is_cut(frame, frame)


def test_a_flash_is_no_cut(moving):
    frame = moving(1, 320, 240)[0] // 2
    assert not is_cut(frame, frame + 100)


def test_a_white_flash_is_no_cut(moving):
    """Every sixth frame flashes, as in front of photographers; a cut behind a flash is one."""
    cuts, frames = Cuts(), moving(30)
    for number in range(5, 30, 6):
        frames[number] = np.full_like(frames[number], 255)
    assert not any(cuts(a, b) for a, b in pairwise(frames))
    other = moving(6, seed=3)
    joined = [*frames[:5], np.full_like(frames[0], 250), *other]
    cuts = Cuts()
    assert [cuts(a, b) for a, b in pairwise(joined)] == [False] * 5 + [True] + [False] * 5
