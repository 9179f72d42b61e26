"""A rule of scores that looks at what each region took on the last frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.flow import Axis, Eager, Image, RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import InputError
from edgeflow.ir.rules import KeyFrameInterval, ScoreRule
from edgeflow.runtime import Rules, Session
from edgeflow.targets import load


@dataclass(frozen=True)
class Sticky(ScoreRule):
    """The largest score, once it beats that of the last frame's value by a margin."""

    margin: float
    kind: ClassVar[str] = "sticky"
    word: ClassVar[str] = "sticky"
    history: ClassVar[bool] = True

    def decide(self, scores, axis, before=None):
        best = np.argmax(scores, axis=1)
        if before is None:
            return best
        rows = np.arange(len(scores))
        return np.where(scores[rows, best] > scores[rows, before] + self.margin, best, before)


class TwoWays(RoutedModule):
    """Decides twice for every tile: the second time tiles already stand in the order of their routes."""

    inputs = (Image("frame", 40, 56),)
    outputs = (Image("picture", 40, 56),)
    first, second = Axis(1, 2, 3), Axis(1, 2)

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.judge, self.again = nn.Conv2d(3, 3, 3, 4, 1), nn.Conv2d(3, 2, 3, 4, 1)
        self.begin = nn.Conv2d(3, 3, 3, 1, 1)
        self.end = nn.Sigmoid()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, 1, 1) for _ in range(3))

    def flow(self, f, frame):
        one, two = f.call(self.judge, frame), f.call(self.again, frame)
        tiles = f.tile(frame, size=24, halo=4)
        route = f.route(tiles, first=one)
        x = f.call(self.begin, tiles)
        for i, layer in enumerate(self.layers, 1):
            x = f.call(layer, x, when=route.first == i)
        late = f.route(x, second=two)
        return f.stitch(f.call(self.end, f.call(self.layers[0], x, when=late.second == 2)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    model = TwoWays().eval()
    path = tmp_path_factory.mktemp("two") / "two.edgeflow"
    return model, compile_kept(model, load("cpu"), path, reference={}, strategy="chained").path


def test_session_and_eager_remember_alike(bundle):
    model, path = bundle
    rules = {"first": Sticky(0.05), "second": Sticky(0.02)}
    eager, session = Eager(model, rules=rules), Session(path, policy=Rules(**rules))
    free = Session(path)
    noise = np.random.default_rng(0)
    taken, kept = [], 0
    for _ in range(6):
        frame = np.kron(noise.integers(0, 255, (5, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        result, wanted = session.run(frame), eager(to_tensor(frame))
        assert result.trace.choices == wanted.routes
        kept += result.trace.choices != free.run(frame).trace.choices
        taken.append(result.trace.choices)
    assert kept > 0  # what it remembers makes a difference here
    session.reset()
    eager.reset()
    assert session.run(frame).trace.choices == eager(to_tensor(frame)).routes


def test_frames_run_one_after_the_other(bundle):
    _, path = bundle
    with pytest.raises(InputError, match="in_flight"):
        Session(path, policy=Rules(first=Sticky(0.1)), in_flight=2).prepare(40, 56)


def test_a_rule_per_frame_does_not_take_the_place_of_one_of_scores(bundle):
    _, path = bundle
    with pytest.raises(InputError, match="is a rule per frame and cannot take its place"):
        Session(path, policy=Rules(second=KeyFrameInterval(2)))(np.zeros((40, 56, 3), np.uint8))
