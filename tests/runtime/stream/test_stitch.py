"""What may be done with a stitched picture: read by a segment, kept as a state, larger than the frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Axis, Eager, Image, RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.flow.trace import trace
from edgeflow.ir.errors import FlowError
from edgeflow.runtime import Session
from edgeflow.runtime.check import check
from edgeflow.targets import load


class Tiled(RoutedModule):
    inputs = (Image("frame"),)
    outputs = (Image("out"),)
    deep = Axis(False, True)

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.tail = nn.Conv2d(4, 3, 3, 1, 1)

    def score(self, tiles):
        """Whether a tile is brighter than most."""
        bright = tiles.mean((1, 2, 3))
        return torch.stack((torch.full_like(bright, 0.49), bright), 1)

    def features(self, f, frame):
        tiles = f.tile(frame, size=32, halo=4)
        route = f.route(tiles, deep=f.call(self.score, tiles))
        return f.stitch(f.call(self.body, f.call(self.head, tiles), when=route.deep))


class ThenSegment(Tiled):
    """A step over the whole frame after the tiles."""

    def flow(self, f, frame):
        return f.call(self.tail, self.features(f, frame))


class ThenKept(Tiled):
    """The stitched features of the last frame are blended in."""

    size = (48, 70)

    def flow(self, f, frame):
        stitched = self.features(f, frame)
        state = f.state(last=(4, 48, 70))
        f.keep(last=stitched)
        return f.call(self.blend, stitched, state.last)

    def blend(self, now, last):
        return self.tail(now + last / 2)


class Enlarged(Tiled):
    """Twice the frame's size."""

    size = (48, 70)

    def __init__(self):
        super().__init__()
        self.enlarge = nn.Conv2d(3, 12, 3, 1, 1)

    def flow(self, f, frame):
        tiles = f.tile(frame, size=32, halo=4)
        route = f.route(tiles, deep=f.call(self.score, tiles))
        return f.stitch(f.call(self.draw, tiles, deep=route.deep))

    def draw(self, tiles, deep):
        return F.pixel_shuffle(self.enlarge(tiles), 2) if deep else F.interpolate(tiles, scale_factor=2)


def built(kind):
    torch.manual_seed(1)
    return kind().eval()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stitch")
    return {
        kind: compile_kept(built(kind), load("cpu"), folder / kind.__name__, reference={}).path
        for kind in (ThenSegment, ThenKept, Enlarged)
    }


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", [ThenSegment, ThenKept, Enlarged])
def test_sessions_do_what_the_eager_flow_does(bundles, kind, library):
    session, eager = Session(bundles[kind], library=library, exact=True), Eager(built(kind))
    taken = set()
    for time in range(3):
        frame = moving_picture(48, 70, 9 * time)
        wanted = eager(to_tensor(frame))
        made = session.run(frame)
        assert made.outputs[0].shape == wanted.outputs[0].shape[1:]
        assert np.abs(made.outputs[0] - wanted.outputs[0][0].numpy()).max() < 1e-5
        assert made.trace.choices["deep"] == wanted.routes["deep"]
        taken |= set(wanted.routes["deep"])
    assert taken == {False, True}


@pytest.mark.parametrize("kind", [ThenSegment, ThenKept, Enlarged])
def test_pictures_come_rounded_and_the_check_passes(bundles, kind):
    from edgeflow.runtime import open_bundle

    opened = open_bundle(bundles[kind])
    frame = moving_picture(48, 70, 0)
    picture = Session(opened)(frame)
    wanted = Eager(built(kind))(to_tensor(frame)).outputs[0][0].clamp(0, 1).permute(1, 2, 0).numpy()
    assert picture.dtype == np.uint8 and np.abs(picture / 255.0 - wanted).max() <= 0.501 / 255
    assert check(opened).passed


def test_a_picture_of_another_size_says_its_own():
    (out,) = trace(built(Enlarged), {"height": 48, "width": 70}).outputs
    assert (out.height, out.width) == (96, 140)


def test_of_free_frames_an_enlarged_picture_is_refused():
    with pytest.raises(FlowError, match=r"the shape of stitched depends on the frame's size .*give the size"):
        trace(built(Enlarged))
