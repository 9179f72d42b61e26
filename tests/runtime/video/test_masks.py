"""Masks of a film: as colours, over its frames, as numbers."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from PIL import Image
from torch import nn

from edgeflow.cli import main
from edgeflow.flow import Flow, Made, RoutedModule, Task, Tensor
from edgeflow.flow import Image as Picture
from edgeflow.runtime.video.masks import MaskPainter, classes_of, painted, palette
from edgeflow.targets import load


class Shades(RoutedModule):
    """Three classes by brightness, at half the frame's size."""

    inputs = (Picture("frame", 64, 96),)
    outputs = (Tensor("classes", (3, 32, 48)),)
    task = Task((0,), (Made("mask", names=("dark", "middle", "bright")),))

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def flow(self, f: Flow, frame):
        return f.call(self.classes, frame)

    def classes(self, x):
        shade = torch.nn.functional.avg_pool2d(x, 2).mean(1, keepdim=True)
        return torch.cat([-(shade - level).abs() for level in (0.1, 0.5, 0.9)], 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "shades.edgeflow"
    compile_kept(Shades().eval(), load("cpu"), path, reference={"model": "shades"}, strategy="routes")
    return path


@pytest.fixture
def film(clip):
    """A bright block that moves over dark ground, with a strip between them in brightness."""
    frames = [np.full((64, 96, 3), 26, np.uint8) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[16:32, 16 + 8 * number : 32 + 8 * number] = 230
        frame[48:] = 128
    return clip("a.mkv", frames, codec="ffv1", pixel_format="bgr0", options={}), frames


def run(command):
    with pytest.raises(SystemExit) as end:
        main(command)
    assert not end.value.code


def test_numbers_colours_and_masks_over_frames(bundle, film, out):
    path, frames = film
    wanted = [np.where(f[..., 0] > 200, 2, np.where(f[..., 0] > 100, 1, 0)) for f in frames]
    run(["run", str(bundle), str(path), "-o", str(out / "%d.png")])
    for number, classes in enumerate(wanted, 1):
        with Image.open(out / f"{number}.png") as picture:
            assert (np.asarray(picture) == classes[..., None]).all()
    for name, extra in (("colours.mkv", []), ("over.mkv", ["--overlay"])):
        run(["run", str(bundle), str(path), "-o", str(out / name), "--codec", "ffv1", *extra])
        with av.open(str(out / name)) as made:
            pictures = [f.to_ndarray(format="rgb24").astype(int) for f in made.decode(made.streams.video[0])]
        for picture, frame, classes in zip(pictures, frames, wanted, strict=True):
            colours = palette(3)[classes].astype(int)
            over = np.where(classes[..., None] > 0, 0.45 * frame + 0.55 * colours, frame)
            inside = np.s_[2:14, 2:14]  # colours are stored at half size, so edges are soft
            for part in (inside, np.s_[18:30, 34:46], np.s_[52:60, 8:88]):
                expected = over if extra else colours
                assert (
                    np.abs(picture[part] - expected[part]).max() <= 24
                )  # the matrix of a small film is guessed


def test_what_a_mask_is():
    scores = np.zeros((1, 2, 2), np.float32)
    scores[0, 0, 1] = 3.0
    assert classes_of(scores).tolist() == [[0, 1], [0, 0]]
    frame = np.full((5, 3, 3), 9, np.uint8)
    assert painted(scores, frame, "numbers")[..., 0].tolist() == [[0, 1, 1]] * 2 + [[0, 0, 0]] * 3
    assert (painted(scores, frame, "over")[4] == 9).all()
    assert len({tuple(colour) for colour in palette(150)}) == 150


def test_the_painter_takes_the_frame_that_the_mask_is_of():
    seen = []

    def run_(*frames):
        return SimpleNamespace(outputs=(np.zeros((2, 4, 4), np.float32),), trace=None)

    session = SimpleNamespace(run=run_, reset=lambda: seen.append("reset"), in_flight=1)
    painter = MaskPainter(session, Task((-1, 0), (Made("mask"),)), "over")
    before, here = np.full((4, 4, 3), 1, np.uint8), np.full((4, 4, 3), 2, np.uint8)
    assert (painter.run(before, here).outputs[0] == 2).all()
    painter.reset()
    assert seen == ["reset"] and painter.task.outputs[0].kind == "image"
