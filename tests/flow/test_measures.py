"""Measures without weights route frames and tiles of a still camera, on both libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kept_bundles import compile_kept
from torch import nn

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Axis, Eager, Image, RoutedModule, Table
from edgeflow.flow.flow import Scored
from edgeflow.flow.measures import Difference, GradientEnergy
from edgeflow.flow.tensors import to_tensor
from edgeflow.flow.trace import trace
from edgeflow.ir.errors import FlowError
from edgeflow.runtime import Session
from edgeflow.targets import load


class StillCamera(RoutedModule):
    """Tiles that did not change keep what was made of them; flat ones are copied; the rest is computed."""

    inputs = (Image("frame", 64, 96),)
    outputs = (Image("picture", 64, 96),)
    stays, way = Axis(True, False), Axis("copy", "full")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.change, self.detail = Difference(), GradientEnergy(cells=(8, 12))
        self.net = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f, frame):
        tiles = f.tile(frame, size=32, halo=4)
        state = f.state(seen=(3, 32, 32), made=(3, 32, 32))
        detail = f.call(self.detail, frame)
        change = f.call(self.change, tiles, state.seen)
        route = f.route(
            tiles,
            stays=Scored(Table((0.01,)), change),
            way=Scored(Table((0.05,)), detail, pool="max"),
        )
        made = f.call(self.work, tiles, way=route.way, when=route.stays == False, otherwise=state.made)  # noqa: E712
        f.keep(seen=tiles, made=made, when=route.stays == False)  # noqa: E712
        return f.stitch(made)

    def work(self, x, way):
        return torch.sigmoid(self.net(x)) if way == "full" else x * 1.0


class Flat(RoutedModule):
    """Frames of any size, of which flat tiles are copied: by the largest cell that they touch of a map of fixed cells."""

    inputs = (Image("frame"),)
    outputs = (Image("picture"),)
    way = Axis("copy", "invert")

    def __init__(self, cells: tuple[int, int] | None) -> None:
        super().__init__()
        self.cells, self.detail = cells, GradientEnergy(cells=cells)

    def flow(self, f, frame):
        tiles = f.tile(frame, size=32, halo=0)
        route = f.route(tiles, way=Scored(Table((0.05,)), f.call(self.score, frame), pool="max"))
        return f.stitch(f.call(self.work, tiles, way=route.way))

    def score(self, frame):
        return self.detail(frame) if self.cells else torch.nn.functional.avg_pool2d(frame[:, :1], 8)

    def work(self, x, way):
        return 1 - x if way == "invert" else x * 1.0


@pytest.mark.slow
def test_a_map_of_fixed_cells_routes_frames_of_any_size_and_one_of_an_eighth_is_refused(tmp_path):
    model = Flat((5, 7)).eval()
    path = compile_kept(model, load("cpu"), tmp_path / "f.edgeflow", reference={}, compare=False).path
    eager, session = Eager(model), Session(path)
    for height, width in ((64, 96), (101, 67), (40, 200)):
        frame = moving_picture(height, width, 0)
        frame[: height // 2] = 128
        wanted, found = eager(to_tensor(frame)), session.run(frame)
        assert found.trace.choices == wanted.routes and {"copy", "invert"} == set(wanted.routes["way"])
    with pytest.raises(FlowError, match=r"depends on the frame's size .* fixed size, or to the frame's own"):
        trace(Flat(None))


def film():
    flat = np.full((64, 96, 3), 128, np.uint8)
    frames = []
    for time in range(5):
        frame = flat.copy()
        frame[:, 48:] = moving_picture(64, 96, 0)[:, 48:]
        frame[8:24, 52 + 4 * time : 60 + 4 * time] = 255
        frames.append(frame)
    return [*frames, frames[-1]]


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_tiles_that_stand_still_are_not_computed_again(tmp_path, library):
    model = StillCamera().eval()
    path = compile_kept(model, load("cpu"), tmp_path / "s.edgeflow", reference={}).path
    eager, session, exact = (
        Eager(model),
        Session(path, library=library),
        Session(path, library=library, exact=True),
    )
    stayed = []
    for frame in film():
        wanted, found = eager(to_tensor(frame)), session.run(frame)
        assert found.trace.choices == wanted.routes
        np.testing.assert_allclose(exact.run(frame).outputs[0], wanted.outputs[0][0].numpy(), atol=2e-6)
        stayed.append(sum(wanted.routes["stays"]))
    ways = wanted.routes["way"]
    assert {"copy", "full"} == set(ways)
    assert stayed[0] == 0 and 0 < stayed[1] < len(ways) and stayed[-1] == len(ways)
    assert all(not engine.graph.startswith("work") for engine in found.trace.engines), (
        "nothing was left to do"
    )


def test_measures_are_what_they_say():
    x, y = torch.rand(2, 3, 16, 24), torch.rand(2, 3, 16, 24)
    torch.testing.assert_close(Difference()(x, y), (x - y).abs().mean((1, 2, 3)).reshape(-1, 1))
    halves = Difference(cells=(1, 2))(x, y)
    torch.testing.assert_close(halves[:, 0, 0, 0], (x - y)[..., :12].abs().mean((1, 2, 3)))
    assert GradientEnergy()(torch.ones(1, 3, 8, 8)).item() == 0
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    torch.testing.assert_close(GradientEnergy()(ramp), torch.tensor([[7 / 8]]))
