from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeflow.ir.errors import TrainError
from edgeflow.training.data import load_clips
from edgeflow.training.samples import Samples, Triplet


def test_clips_are_decoded_once_and_what_is_no_clip_is_reported(clips, tmp_path):
    cache = tmp_path / "cache"
    data = load_clips(clips, cache)
    assert [clip.name for clip in data.training] == ["upright.mkv", "wide.mkv"]
    assert data.training[1].frames.shape == (20, 96, 128, 3)
    assert data.training[1].activity.shape == (18, 3, 4)
    assert [line.split(":")[0] for line in data.skipped] == ["left out notes.txt"]
    written = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    load_clips(clips, cache)
    assert written == {path: path.stat().st_mtime_ns for path in cache.iterdir()}


def test_activity_is_where_the_square_moves(clips, tmp_path):
    activity = load_clips(clips, tmp_path).training[1].activity
    assert activity[:, 2].max() == 0
    assert (activity[:, 0:2].max((1, 2)) > 10).all()


def test_a_held_out_clip_is_kept_apart(clips, tmp_path):
    data = load_clips(clips, tmp_path, ["wide.mkv"])
    assert [clip.name for clip in data.training] == ["upright.mkv"]
    assert [clip.name for clip in data.held_out] == ["wide.mkv"]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, "no folder"),
        (lambda folder: folder.mkdir(), "no clip to train on"),
        (lambda folder: (folder.mkdir(), (folder / "a.mp4").write_bytes(b"x" * 99)), "cannot be decoded"),
    ],
)
def test_a_folder_without_clips_is_refused(tmp_path, prepare, words):
    folder = tmp_path / "data"
    prepare(folder)
    with pytest.raises(TrainError, match=words) as caught:
        load_clips(folder, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_an_unknown_clip_to_hold_out_is_refused(clips, tmp_path):
    with pytest.raises(TrainError, match=r"no clip other\.mp4"):
        load_clips(clips, tmp_path, ["other.mp4"])


def test_a_clip_too_short_is_left_out(tmp_path, make_clip):
    folder = tmp_path / "data"
    folder.mkdir()
    make_clip(folder / "short.mkv", frames=5)
    with pytest.raises(TrainError, match="5 frames"):
        load_clips(folder, tmp_path / "cache")


def test_crops_are_three_frames_of_the_training_part(clips, tmp_path):
    data = load_clips(clips, tmp_path)
    samples = Samples(data.training, 64, np.random.default_rng(0))
    crops = samples.crops(4)
    assert crops.shape == (3, 4, 3, 64, 64)
    assert crops.min() >= 0 and crops.max() <= 1
    assert not torch.equal(crops[0], crops[2])


def test_frames_are_those_of_a_triplet(clips, tmp_path):
    (clip,) = load_clips(clips, tmp_path, ["upright.mkv"]).training
    assert Triplet(clip, 3, 2).frames == [3, 5, 7]
    frames = Samples((clip,), 64, np.random.default_rng(0)).frames(2)
    assert frames.shape == (3, 2, 3, 96, 128)
    wanted = {np.asarray(frame).tobytes() for frame in clip.frames[: clip.split]}
    wanted |= {np.asarray(frame[:, ::-1]).tobytes() for frame in clip.frames[: clip.split]}
    for picture in frames.flatten(0, 1):
        assert (picture * 255).round().byte().permute(1, 2, 0).numpy().tobytes() in wanted


def test_a_crop_larger_than_every_clip_is_refused(clips, tmp_path):
    data = load_clips(clips, tmp_path)
    with pytest.raises(TrainError, match="512 pixels"):
        Samples(data.training, 512, np.random.default_rng(0))


def test_a_scene_cut_is_never_inside_a_triplet(clips, tmp_path):
    (clip,) = load_clips(clips, tmp_path, ["upright.mkv"]).training
    clip.activity[7] = 100
    assert clip.continuous(0, 8) and not clip.continuous(6, 10) and clip.continuous(8, 12)
