import numpy as np
import pytest
import torch

from edgeflow.ir.errors import TrainError
from edgeflow.models.motions import MOTIONS
from edgeflow.training.data import Clip, load_clips
from edgeflow.training.motion import Motions, Stretch, judged_part, stored_size, training_part

SIDE = 32


@pytest.fixture(scope="module")
def ramp() -> Clip:
    """A picture that stays and is brighter to the right and below: where a window is can be read off it."""
    height, width = stored_size(SIDE)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.arange(width)[None] * 2
    picture[..., 1] = np.arange(height)[:, None] * 3
    return Clip("ramp", np.stack([picture] * 30), np.zeros((28, 1, 1), np.float32))


def motions(clip, seed=0):
    return Motions((Stretch(clip, 0, len(clip.frames)),), 16, SIDE, np.random.default_rng(seed))


def test_equal_seeds_draw_equal_motions_and_every_label_as_often(ramp):
    one, other, third = (motions(ramp, seed).draw(12) for seed in (3, 3, 4))
    assert torch.equal(one.clips, other.clips) and torch.equal(one.labels, other.labels)
    assert not torch.equal(one.clips, third.clips)
    assert sorted(one.labels.tolist()) == sorted([*range(len(MOTIONS))] * 2)
    assert one.clips.shape == (12, 16, 3, SIDE, SIDE)
    assert one.clips.min() >= 0 and one.clips.max() <= 1


def test_a_window_moves_as_its_label_says(ramp):
    drawn = motions(ramp).draw(60)
    across = drawn.clips[:, :, 0].mean((2, 3)) * 255 / 2  # the window's centre in pixels, mirrored or not
    wide = (drawn.clips[:, :, 0, :, -1] - drawn.clips[:, :, 0, :, 0]).mean(2).abs()
    gone = (
        (across[:, -1] - across[:, 0])
        / SIDE
        * (drawn.clips[:, 0, 0, 0, -1] - drawn.clips[:, 0, 0, 0, 0]).sign()
    )
    for label, least, most in (
        ("forward", 0.47, 0.73),
        ("backward", -0.73, -0.47),
        ("fast", 1.4, 2.2),
        ("slow", 0.15, 0.25),
    ):
        found = gone[drawn.labels == MOTIONS.index(label)]
        assert len(found) == 10 and (found > least).all() and (found < most).all(), label
    still = drawn.clips[drawn.labels == MOTIONS.index("still")]
    assert (still == still[:, :1]).all()
    zoomed = (wide[:, -1] / wide[:, 0])[drawn.labels == MOTIONS.index("zoom")]
    assert (zoomed > 0.4).all() and (zoomed < 0.6).all()


def test_one_picture_does_not_tell(ramp):
    """Windows of every motion are as large, and in the middle of their motion as often left as right."""
    drawn = motions(ramp).draw(240)
    middle = drawn.clips[:, 7:9, 0].mean((1, 2, 3)) * 255 / 2
    large = (drawn.clips[:, 0, 1, -1] - drawn.clips[:, 0, 1, 0]).mean(1)
    for label in range(len(MOTIONS)):
        mine = drawn.labels == label
        assert abs(float(middle[mine].mean()) - 2 * SIDE) < 14
        assert abs(float(large[mine].mean() / large.mean()) - 1) < 0.1


def test_parts_are_kept_apart(clips, tmp_path):
    data = load_clips(clips, tmp_path, (), stored_size(SIDE))
    for stretch in training_part(data):
        assert (stretch.start, stretch.stop) == (0, 16)
        last = judged_part(stretch.clip, whole=False, side=SIDE)
        assert np.array_equal(last.clip.frames, stretch.clip.frames[16:])
    assert Motions(training_part(data), 16, SIDE, np.random.default_rng(0)).draw(2).clips.shape[0] == 2


def test_a_test_takes_clips_of_any_size(clips, tmp_path):
    clip = load_clips(clips, tmp_path).training[0]
    part = judged_part(clip, whole=True, side=SIDE)
    assert part.clip.frames.shape == (20, *stored_size(SIDE), 3)


def test_clips_that_do_not_fit_are_refused(ramp):
    with pytest.raises(TrainError, match=r"ramp has a part of 31 frames"):
        Motions((Stretch(ramp, 0, 30),), 31, SIDE, np.random.default_rng(0))
    with pytest.raises(TrainError, match="ramp is not"):
        Motions((Stretch(ramp, 0, 30),), 16, 2 * SIDE, np.random.default_rng(0))
    cuts = Clip("cuts", ramp.frames, np.full((28, 1, 1), 99, np.float32))
    with pytest.raises(TrainError, match="change scene"):
        motions(cuts).draw(1)
