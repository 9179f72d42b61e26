"""From a module and a clip to a bundle and its report; and what cannot be: a line each."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import torch
from PIL import Image
from wrap_networks import Attentive, Middle, deep, denoiser, film

from edgeflow.cli import main
from edgeflow.ir.errors import InputError
from edgeflow.runtime import Session
from edgeflow.targets import load
from edgeflow.wrap import wrap
from edgeflow.wrap.film import Film
from edgeflow.wrap.form import form_of
from edgeflow.wrap.model import Tiling
from edgeflow.wrap.tune import Tuner
from edgeflow.wrap.wrapping import _check_gain, shown_of

pytestmark = pytest.mark.slow

MODEL = """
from wrap_networks import deep as build
"""


def write(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))


def command(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    return stopped.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a clip, a model and what `edgeflow wrap` made of them."""
    folder = tmp_path_factory.mktemp("wrap")
    write(folder / "clip.mp4", film(8))
    (folder / "model.py").write_text(MODEL)
    assert not command(
        "wrap", f"{folder / 'model.py'}:build", "--clip", folder / "clip.mp4", "-o", folder / "w.edgeflow"
    )
    return folder


def test_the_command_writes_a_bundle_a_report_and_a_picture(made):
    told = json.loads((made / "w.json").read_text())
    measured = told["measured"]
    assert told["network"]["reach"] == 5
    assert measured["shares"]["copy"] > 0.3
    assert measured["exact"] < 0.01
    assert measured["drop"] <= 0.1
    assert measured["psnr"] >= 51
    assert sum(measured["shares"].values()) == pytest.approx(1)
    assert measured["routed_ms"] > 0 < measured["static_ms"]
    with Image.open(made / "w.png") as picture:
        assert picture.size == (3 * 192, 128 + 20)
    frame = film(1)[0]
    with torch.no_grad():
        wanted = deep()(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0) * 255
    assert np.abs(Session(made / "w.edgeflow")(frame) - wanted.numpy()).max() < 1


def test_the_bundle_runs_on_a_film(made, capsys):
    film_out = made / "out.mp4"
    assert not command("run", made / "w.edgeflow", made / "clip.mp4", "-o", film_out, "--quality", "0.7")
    assert film_out.stat().st_size > 1000


@pytest.mark.parametrize("there", ["w.json", "w.edgeflow"])
def test_what_is_there_is_not_written_over(made, tmp_path, capsys, there):
    output = tmp_path / "w.edgeflow"
    if there == "w.json":
        (tmp_path / there).write_text("mine")
    else:
        output.mkdir()
        (output / "notes.txt").write_text("mine")
    assert command("wrap", f"{made / 'model.py'}:build", "--clip", made / "clip.mp4", "-o", output) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("model.py:nothing", "has no function 'nothing'"),
        ("model.py", "model.py:build"),
        ("routed.py:build", "a routed model already: `edgeflow export` compiles it"),
        ("text.py:build", "returns a str: it must return a torch.nn.Module"),
    ],
)
def test_what_is_no_network(made, tmp_path, capsys, reference, said):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "routed.py").write_text("from edgeflow.flow import RoutedModule as build\n")
    (tmp_path / "text.py").write_text("build = lambda: 'a network'\n")
    assert (
        command("wrap", tmp_path / reference, "--clip", made / "clip.mp4", "-o", tmp_path / "w.edgeflow") == 1
    )
    assert said in capsys.readouterr().err


def test_frames_on_twos_are_reused_by_a_network_that_sees_all_of_them():
    frames = [frame for frame in film(5) for _ in range(2)]
    found = wrap(Attentive().eval(), frames, load("cpu"))
    assert found.reach.everywhere == ("mean in weigh.0",)
    assert found.halo is None and found.tuned.tiling.size == 0
    assert found.tuned.outcome.shares["copy"] >= 0.5


def test_a_clip_of_one_frame_is_too_short():
    with pytest.raises(
        InputError,
        match="the clip has 1 frames, of which 1 calls of the network can be made: give one of at least 4",
    ):
        wrap(denoiser(), film(1), load("cpu"))


def test_a_still_clip_cannot_be_tuned_on():
    with pytest.raises(InputError, match=r"nothing moves in the clip.*: give one in which something does"):
        wrap(denoiser(), film(1) * 6, load("cpu"))


def test_the_truth_has_as_many_frames():
    with pytest.raises(InputError, match="the truth has 5 frames and the clip 6: give one for each"):
        wrap(denoiser(), film(6), load("cpu"), truth=film(5))


def test_the_truth_is_as_large_as_what_is_made():
    with pytest.raises(InputError, match="the truth is 64x64, and the network makes 3 channels of 192x128"):
        wrap(denoiser(), film(6), load("cpu"), truth=[frame[:64, :64] for frame in film(6)])


def filmed(frames, truth=()):
    network = denoiser()
    with torch.no_grad():
        made = tuple(network(torch.from_numpy(f).permute(2, 0, 1)[None] / 255)[0].numpy() for f in frames)
    return Film(tuple((frame,) for frame in frames), made, (), truth, 1.0), form_of(network)


def test_what_a_change_comes_to_is_measured_of_patches_alone():
    """A network that changes nothing: errors are the changes themselves, whatever moves in the halos."""
    frames = film(8)
    pictures = tuple(frame.transpose(2, 0, 1).astype(np.float32) / 255 for frame in frames)
    clip = Film(tuple((frame,) for frame in frames), pictures, (), (), 1.0)
    fit = Tuner(clip, form_of(denoiser()), Tiling(64, 8, 1.5, 0.4)).fitted().copy
    assert (fit.factor, fit.power) == (pytest.approx(1, abs=1e-3), pytest.approx(1, abs=1e-3))


def test_a_clip_in_which_all_moves_leaves_nothing_to_copy():
    random = np.random.default_rng(0)
    clip, form = filmed([random.integers(0, 255, (128, 192, 3)).astype(np.uint8) for _ in range(5)])
    tuner = Tuner(clip, form, Tiling(64, 8, 1.5, 0.4))
    best = tuner.best(tuner.fitted(), 0.1)
    assert best.outcome.shares["whole"] == 1
    with pytest.raises(
        InputError, match=r"no route saves time on this clip, at whatever drop .*: nearly all of it changes"
    ):
        _check_gain(best, clip, form, 0.1)


def test_a_network_that_is_as_quick_as_a_look_at_its_tiles_is_left_as_it_is():
    clip, form = filmed(film(6))
    tuner = Tuner(clip, form, Tiling(64, 8, 1.5, 0.4, look=2.0))
    best = tuner.best(tuner.fitted(), 0.5)
    assert best.outcome.shares["whole"] == 1
    with pytest.raises(
        InputError, match=r"looking at its tiles alone takes 2\.00 of the static network's time"
    ):
        _check_gain(best, clip, form, 0.5)


def test_a_gate_that_cannot_be_met_says_which_could():
    random = np.random.default_rng(0)
    grain = [random.normal(0, 2, (128, 192, 3)) for _ in range(6)]
    clip, form = filmed([(film(1)[0] + each).clip(0, 255).round().astype(np.uint8) for each in grain])
    tuner = Tuner(clip, form, Tiling(64, 8, 1.5, 0.4))
    best = tuner.best(tuner.fitted(), 0.0)
    with pytest.raises(
        InputError,
        match=r"within --max-drop 0 no route saves time .*: --max-drop 0.2 would take 0\.\d\d of it",
    ):
        _check_gain(best, clip, form, 0.0)


def test_what_lies_between_two_frames_is_known_of_a_clip():
    frames = film(9)
    shown = shown_of(form_of(Middle().eval()), frames)
    assert len(shown.calls) == len(shown.truth) == 4
    assert all(np.array_equal(a, b) for a, b in zip(shown.calls[1], (frames[2], frames[4]), strict=True))
    assert np.array_equal(shown.truth[1], frames[3])
