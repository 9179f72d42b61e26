"""Films of models with other windows: cuts anywhere in them, several pictures between frames, labels."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.labels import label_video

FOUR = Task((-1, 0, 1, 2), (Made("image", 0.5),))


class Watching:
    """Keeps the mean of every frame that a call reads; makes pictures as bright as `weights` say of them."""

    def __init__(self, *weights, in_flight=1):
        self.weights, self.in_flight = weights, in_flight
        self.read, self.resets = [], 0

    def run(self, *frames):
        self.read.append([round(float(frame.mean())) for frame in frames])
        made = tuple(
            np.clip(sum(w * f.astype(float) for w, f in zip(each, frames, strict=True)), 0, 255).astype(
                np.uint8
            )
            for each in self.weights
        )
        return SimpleNamespace(outputs=made, trace=SimpleNamespace(regions=()))

    def reset(self):
        self.resets += 1


@pytest.fixture
def two_scenes(moving):
    """Four frames of a scene and three of another, all of its own brightness."""
    first = [(frame // 2 + 20 + 3 * i).astype(np.uint8) for i, frame in enumerate(moving(4, seed=1))]
    second = [(frame // 2 + 110 + 3 * i).astype(np.uint8) for i, frame in enumerate(moving(3, seed=2))]
    return first + second


@pytest.mark.parametrize("in_flight", [1, 2])
def test_no_window_sees_two_scenes(clip, out, two_scenes, decode, in_flight):
    path = clip("a.mkv", two_scenes, codec="ffv1", pixel_format="bgr0", options={})
    session = Watching((0, 0.5, 0.5, 0), in_flight=in_flight)
    report = convert_film(session, FOUR, path, out / "b.mkv")
    means = [round(float(frame.mean())) for frame in decode(path)]
    windows = [(0, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 3), (4, 4, 5, 6), (4, 5, 6, 6)]
    assert sorted(session.read) == sorted([means[i] for i in window] for window in windows)
    assert (report.cuts, session.resets) == (1, 1)
    assert (report.frames_read, report.frames_written, len(decode(out / "b.mkv"))) == (7, 14, 14)


def test_four_times_of_four_frames_are_midpoints_of_midpoints(clip, out, decode):
    """Windows of halves repeat the frame at their end, and so do those at the film's."""
    path = clip(
        "a.mkv",
        [np.full((64, 96, 3), 40 + 40 * i, np.uint8) for i in range(4)],
        codec="ffv1",
        pixel_format="bgr0",
        options={},
    )
    session = Watching((0, 0.5, 0.5, 0))
    report = convert_film(session, FOUR, path, out / "b.mkv", times=4)
    assert session.read[3:6] == [[40, 80, 120, 160], [80, 80, 100, 120], [80, 100, 120, 120]]
    assert report.frames_written == 16
    shades = [float(frame.mean()) for frame in decode(out / "b.mkv")]
    assert np.allclose(shades, [*range(40, 160, 10), 160, 160, 160, 160], atol=3)


def test_several_pictures_between_frames(clip, out, moving, decode):
    thirds = Task((0, 1), (Made("image", 2 / 3), Made("image", 1 / 3)))
    path = clip("a.mp4", [np.full((64, 96, 3), 60 + 30 * i, np.uint8) for i in range(3)])
    report = convert_film(Watching((1 / 3, 2 / 3), (2 / 3, 1 / 3)), thirds, path, out / "b.mp4")
    assert (report.frames_written, report.fps) == (9, 75)
    shades = [float(frame.mean()) for frame in decode(out / "b.mp4")]
    assert np.allclose(shades, [60, 70, 80, 90, 100, 110, 120, 120, 120], atol=3)


def test_a_window_around_a_frame_replaces_it_and_the_sound_stays(clip, out, decode):
    around = Task((-1, 0, 1), (Made("image"),))
    path = clip("a.mp4", [np.full((64, 96, 3), 60 + 30 * i, np.uint8) for i in range(4)], audio="aac")
    report = convert_film(Watching((0.5, 0, 0.5)), around, path, out / "b.mp4")
    assert report.frames_written == 4
    shades = [float(frame.mean()) for frame in decode(out / "b.mp4")]
    assert np.allclose(shades, [75, 90, 120, 135], atol=3)


@pytest.mark.parametrize(
    ("task", "times", "complaint"),
    [
        (FOUR, 3, "times is 3; choose 2 or 4 or 8"),
        (Task((0, 1, 2, 3), (Made("image", 0.5),)), 4, "times is 4; choose 2"),
        (Task((0,), (Made("image"),)), 2, "leaves their rate as it is"),
        (Task((0,), (Made("mask"),)), None, "makes no pictures"),
        (Task((0, 1), (Made("image", 0.25),)), None, "only evenly spaced ones"),
        (Task.of_clip(4, Made("image")), None, "only evenly spaced ones"),
        (Task((0, 1), (Made("image", 0.5, scale=2),)), None, "another size"),
    ],
)
def test_what_makes_no_film_is_refused_before_any_work(clip, out, moving, task, times, complaint):
    session = Watching((1,))
    with pytest.raises(InputError, match=complaint):
        convert_film(session, task, clip("a.mp4", moving(3)), out / "b.mp4", times=times)
    assert session.read == [] and list(out.iterdir()) == []


class Loudest(Watching):
    """Scores three labels; the second is the frame's brightness."""

    def run(self, *frames):
        super().run(*frames)
        scores = np.array([0.1, float(np.mean(frames)) / 255, 0.2], np.float32)
        return SimpleNamespace(outputs=(scores,), trace=SimpleNamespace(regions=()))


def test_labels_of_a_film_with_a_cut(clip, out, two_scenes):
    path = clip("a.mkv", two_scenes, codec="ffv1", pixel_format="bgr0", options={})
    session = Loudest()
    task = Task.of_clip(3, Made("labels", names=("dark", "bright", "grey")))
    report = label_video(session, task, path, out / "labels.jsonl")
    lines = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    spans = [(line["start"], line["end"]) for line in lines]
    assert spans == [(0, 0.12), (0.12, 0.16), (0.16, 0.28)]
    assert {line["name"] for line in lines} == {"bright"} and {line["label"] for line in lines} == {1}
    assert (report.calls, report.cuts, report.frames_read, session.resets) == (3, 1, 7, 1)


def test_what_a_failing_session_began_is_removed(clip, out, moving):
    class Failing(Loudest):
        def run(self, *frames):
            raise RuntimeError("engine stopped")

    task = Task((0,), (Made("labels"),))
    with pytest.raises(RuntimeError, match="engine stopped"):
        label_video(Failing(), task, clip("a.mp4", moving(3)), out / "labels.jsonl")
    assert list(out.iterdir()) == []
    with pytest.raises(VideoError, match="no/such"):
        label_video(Loudest(), task, clip("b.mp4", moving(3)), out / "no/such" / "labels.jsonl")
