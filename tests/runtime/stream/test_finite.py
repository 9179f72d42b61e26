"""Pictures that are not finite at run time are an error that says where, though bytes cannot show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import BackendError
from edgeflow.runtime import Session
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.targets import load

SIZE = (40, 72)


class Tiles(RoutedModule):
    """Makes NaN of a black tile, and infinity of a white one."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f, frame):
        return f.stitch(f.call(self.shade, f.tile(frame, size=32, halo=4)))

    def shade(self, tiles):
        light = tiles.mean((1, 2, 3), keepdim=True)
        return torch.sigmoid(self.conv(tiles)) * (light / light) + torch.relu(0.01 / (light - 1))


class Stream(RoutedModule):
    """Adds half of the last frame's feature; black frames have none."""

    inputs = (Image("frame", *SIZE),)
    outputs = (Image("picture", *SIZE),)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f, frame):
        state = f.state(last=(3, *SIZE))
        now = f.call(self.feature, frame)
        f.keep(last=now)
        return f.call(self.draw, now, state.last)

    def feature(self, frame):
        return torch.tanh(self.conv(frame)) / frame.mean((1, 2, 3), keepdim=True)

    def draw(self, now, last):
        return 0.5 + (now + last / 2) / 4


def compiled(kind, folder):
    torch.manual_seed(0)
    return compile_kept(kind().eval(), load("cpu"), folder / kind.__name__, reference={}).path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finite")
    return {kind: compiled(kind, folder) for kind in (Tiles, Stream)}


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("level", [0, 255], ids=["NaN", "infinity"])
def test_the_tile_and_the_frame_are_named(bundles, library, level):
    session = Session(bundles[Tiles], library=library)
    frame = moving_picture(*SIZE, 0)
    good = session(frame)
    grid = next(step.grid(*SIZE) for step in session.executor.plan.steps if hasattr(step, "grid"))
    (top, left), place = grid.origins[3], grid.regions[3]
    bad = frame.copy()
    bad[top : top + 32, left : left + 32] = level
    says = (
        rf"^frame 2 of this session: segment shade: its engine shade-\w+ made pixels that are not finite in rows {place.top} to "
        rf"{place.bottom}, columns {place.left} to {place.right} of this frame: check the frame, the weights and "
    )
    with pytest.raises(BackendError, match=says):
        session(bad)
    np.testing.assert_array_equal(session(frame), good)


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_a_refused_frame_leaves_the_stream_as_it_was(bundles, library):
    first, second = moving_picture(*SIZE, 0), moving_picture(*SIZE, 20)
    session = Session(bundles[Stream], library=library)
    wanted = [session(first), session(second)]
    session.reset()
    made = [session(first)]
    with pytest.raises(
        BackendError, match=rf"segment draw: .*in rows 0 to {SIZE[0]}, columns 0 to {SIZE[1]} "
    ):
        session(np.zeros_like(first))
    made.append(session(second))
    np.testing.assert_array_equal(made, wanted)


def test_a_bundle_whose_engines_tell_no_means_runs_as_before(bundles):
    """Bundles of schemas before 1.7."""
    bundle = open_bundle(bundles[Tiles])
    session = Session(bundle)
    session.prepare(*SIZE)
    (plan,) = {id(p): p for p in bundle.manifest.plans.values() if p is session.executor.plan}.values()
    steps = [
        replace(step, graphs=tuple(replace(graph, means=()) for graph in step.graphs))
        if hasattr(step, "graphs")
        else step
        for step in plan.steps
    ]
    session.executor.loaded = load_graphs(bundle, replace(plan, steps=tuple(steps)), session.backend, SIZE)
    assert session(np.zeros((*SIZE, 3), np.uint8)).dtype == np.uint8
