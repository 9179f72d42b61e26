"""Whole frames at int8: engines that each are good enough must make pictures that are, from the first frame to the last."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
import torch
from kept_bundles import compile_kept
from torch import nn
from uneven_model import Uneven

from edgeflow.export.plugins.bodies import runnable
from edgeflow.export.precision.int8_frames import missing_db
from edgeflow.export.sample import moving_picture
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.bundle import Bundle
from edgeflow.runtime import open_bundle
from edgeflow.runtime.check import check
from edgeflow.targets import load


def stretched(x: torch.Tensor) -> torch.Tensor:
    """Each channel with mean 0 and deviation 1, so that a picture shows all of it."""
    centred = x - x.mean((2, 3), keepdim=True)
    return centred / centred.square().mean((2, 3), keepdim=True).sqrt()


class Painted(Uneven):
    """Makes a picture, by a layer that 8 bits hold well enough for features, but not for what is looked at."""

    outputs = (Image("picture"),)

    def __init__(self):
        super().__init__()
        self.uneven.weight.data[0] *= 40 / self.sizes[0, 0, 0, 0]
        self.sizes[0] = 40

    def level(self, x: torch.Tensor) -> torch.Tensor:
        return self.paint(self.features(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return super().level(x)[:, :3]

    def paint(self, x: torch.Tensor) -> torch.Tensor:
        return stretched(x).sigmoid()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "jetson-orin"])
def test_an_engine_that_paints_is_held_to_what_its_picture_must_be(tmp_path, target):
    frames = [moving_picture(16, 24, time) for time in range(4)]
    made = compile_kept(
        Painted().eval(), load(target).at("int8"), tmp_path / "p.edgeflow", reference={}, frames=frames
    )
    (entry,) = made.manifest.graphs.values()
    assert 0 < len(entry.float_layers) < 5
    assert re.fullmatch(
        r"int8 in every layer would reach 3\d\.\d dB of PSNR, 41 dB are asked for", entry.note
    )
    with runnable(open_bundle(made.path)) as copy:
        report = check(copy, library="onnxruntime")
    assert report.passed and all(clip.psnr_db > 40 for clip in report.clips)
    assert made.manifest.provenance["compared"]["compared"]


class PaintedApart(Painted):
    """The same by two engines, of which the first makes features."""

    def flow(self, f, frame):
        return f.call(self.paint, f.call(self.features, frame))


def test_engines_of_features_are_asked_for_more_until_whole_frames_hold(tmp_path):
    frames = [moving_picture(16, 24, time) for time in range(4)]
    target = load("jetson-orin").at("int8")
    made = compile_kept(
        PaintedApart().eval(), target, tmp_path / "p", reference={}, frames=frames, strategy="chained"
    )
    entry = next(entry for entry in made.manifest.graphs.values() if entry.segments == ("features",))
    assert 0 < len(entry.float_layers) < 5
    assert re.fullmatch(
        r"int8 in every layer would reach .* of signal to error, 4\d dB are asked for", entry.note
    )
    assert made.manifest.provenance["compared"]["psnr_db"] > 40


class Gathering(RoutedModule):
    """Features that a state gathers from frame to frame, and another segment paints.

    Args:
        wrong: what every frame adds to the state that should not be there.
    """

    inputs = (Image("frame", 16, 24),)
    outputs = (Image("picture"),)

    def __init__(self, wrong: float = 0.0):
        super().__init__()
        torch.manual_seed(0)
        self.look = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.LeakyReLU(), nn.Conv2d(8, 3, 3, 1, 1))
        self.register_buffer("wrong", wrong * torch.linspace(-1, 1, 24))

    def flow(self, f, frame):
        state = f.state(gathered=(3, 16, 24))
        gathered = f.call(self.gather, frame, state.gathered)
        f.keep(gathered=gathered)
        return f.call(self.paint, gathered)

    def gather(self, frame: torch.Tensor, gathered: torch.Tensor) -> torch.Tensor:
        return gathered + 0.1 * self.look(frame) + self.wrong

    def paint(self, gathered: torch.Tensor) -> torch.Tensor:
        return (3 * gathered).sigmoid()


def test_what_a_state_gathers_counts_over_the_whole_clip(tmp_path):
    frames = [moving_picture(16, 24, time) for time in range(16)]
    exact, trial = (
        open_bundle(
            compile_kept(
                Gathering(wrong).eval(), load("cpu"), tmp_path / str(wrong), reference={}, frames=frames
            ).path
        )
        for wrong in (0.0, 0.005)
    )
    for golden in (exact.path / "golden").iterdir():
        shutil.copyfile(golden, trial.path / "golden" / golden.name)
    at_int8 = replace(trial.manifest, target={**trial.manifest.target, "precision": "int8"})
    trial = Bundle(trial.path, at_int8)
    assert (
        missing_db(exact, trial, frames[:3], "onnxruntime")
        < 0
        < missing_db(exact, trial, frames, "onnxruntime")
    )
