"""Which frames of a film each call reads."""

import numpy as np
import pytest

from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.film import calls_of, moments
from edgeflow.ir.interface import Clip, Image, Tensor
from edgeflow.ir.task import Made, Task, default_task, task_from_json, task_to_json

MIDDLE = (Made("image", 0.5),)


def read(task, scenes):
    """The calls on a film whose frames are numbers, and scenes of these lengths: (number, frames, cut)."""
    film = [(scene, place) for scene, length in enumerate(scenes) for place in range(length)]
    numbers = {item: number for number, item in enumerate(film)}
    return [
        (moment.number, [numbers[item] for item in moment.frames], moment.cut)
        for moment in moments(task, iter(film), lambda last, now: last[0] != now[0])
    ]


def test_two_frames_are_neighbours_of_one_scene():
    assert read(Task((0, 1), MIDDLE), [2, 2]) == [
        (0, [0, 1], False),
        (1, [], False),
        (2, [2, 3], True),
        (3, [], False),
    ]


def test_a_window_repeats_its_scenes_edge_frames():
    assert read(Task((-1, 0, 1, 2), MIDDLE), [3, 2]) == [
        (0, [0, 0, 1, 2], False),
        (1, [0, 1, 2, 2], False),
        (2, [], False),
        (3, [3, 3, 4, 4], True),
        (4, [], False),
    ]


def test_a_cut_is_seen_anywhere_in_the_window():
    """The cut lies two frames after the call's frame 0, beyond the pair that is interpolated."""
    assert read(Task((-1, 0, 1, 2), MIDDLE), [2, 1])[0] == (0, [0, 0, 1, 1], False)


def test_frames_around_one():
    around = Task((-2, 0, 2), (Made("image"),))
    assert [frames for _, frames, _ in read(around, [4])] == [[0, 0, 2], [0, 1, 3], [0, 2, 3], [1, 3, 3]]


def test_clips_follow_one_another_and_begin_anew_at_a_cut():
    clip = Task.of_clip(3, Made("labels"))
    assert [m for m in read(clip, [4, 2]) if m[1]] == [
        (0, [0, 1, 2], False),
        (3, [3, 3, 3], False),
        (4, [4, 5, 5], True),
    ]
    shorter = Task.of_clip(3, Made("labels"), shorter=True)
    assert [frames for _, frames, _ in read(shorter, [4, 2]) if frames] == [[0, 1, 2], [3], [4, 5]]


def test_overlapping_clips():
    assert [f for _, f, _ in read(Task.of_clip(3, Made("labels"), stride=2), [5]) if f] == [
        [0, 1, 2],
        [2, 3, 4],
        [4, 4, 4],
    ]


def test_calls_come_as_soon_as_their_frames_are_known():
    given = []

    def film():
        for number in range(9):
            given.append(number)
            yield number

    seen = [(moment.number, len(given)) for moment in moments(Task((0,), (Made("image"),)), film())]
    assert seen == [(n, n + 1) for n in range(9)]
    given.clear()
    first = next(moments(Task((-1, 0, 1, 2), MIDDLE), film()))
    assert (first.frames, len(given)) == ((0, 0, 1, 2), 3)


def test_a_long_film_is_not_held():
    scene = moments(Task((-1, 0, 1, 2), MIDDLE), (np.zeros(1) for _ in range(1000)))
    for _ in range(500):
        next(scene)
    assert len(scene.gi_frame.f_locals["scene"].held) < 6


def test_calls_are_images_or_one_clip():
    film = [np.full((2, 4, 3), shade, np.uint8) for shade in range(4)]
    (first, second), *_ = calls_of(Task((0, 1), MIDDLE), film)
    assert (first.max(), second.max()) == (0, 1)
    ((clip,), *_) = calls_of(Task.of_clip(3, Made("labels")), film)
    assert clip.shape == (3, 2, 4, 3) and clip[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("inputs", "offsets", "time", "calls"),
    [
        ((Image("a"),), (0,), 0.0, 5),
        ((Image("a"), Image("b")), (0, 1), 0.5, 4),
        (tuple(map(Image, "abc")), (0, 1, 2), 1.0, 5),
        (tuple(map(Image, "abcd")), (0, 1, 2, 3), 1.5, 4),
    ],
)
def test_the_task_that_inputs_suggest(inputs, offsets, time, calls):
    task = default_task(inputs, (Image("made"),))
    assert (task.offsets, task.outputs) == (offsets, (Made("image", time),))
    assert len(list(calls_of(task, [np.zeros((1, 1, 3), np.uint8)] * 5))) == calls
    assert task_from_json(task_to_json(task)) == task


def test_a_model_that_takes_more_than_frames_has_no_film():
    task = default_task((Image("a"), Tensor("noise", (3,))), (Tensor("made"),))
    with pytest.raises(InputError, match="takes more than frames"):
        list(calls_of(task, [np.zeros((1, 1, 3), np.uint8)]))


@pytest.mark.parametrize(
    ("task", "inputs", "complaint"),
    [
        (Task((0, 1, 2), MIDDLE), (Image("a"), Image("b")), "its task has 3 offsets"),
        (Task.of_clip(4, *MIDDLE), (Clip("a", 8),), "takes 8 frames a call"),
        (Task((0,), MIDDLE), (Clip("a", 8),), "images, or one clip"),
        (Task((0,), (Made("labels"),)), (Image("a"),), "declared a Image, and labels"),
        (Task((0,), MIDDLE * 2), (Image("a"),), "declares 1 outputs, its task 2"),
        (Task.of_clip(8, *MIDDLE, shorter=True), (Clip("a", 8),), "only if its clip's length is free"),
    ],
)
def test_a_task_goes_with_its_model(task, inputs, complaint):
    with pytest.raises(FlowError, match=complaint):
        task.check("Model", inputs, (Image("made"),))


def test_an_output_is_of_a_known_kind():
    with pytest.raises(FlowError, match="'picture': mend the task"):
        Made("picture")
