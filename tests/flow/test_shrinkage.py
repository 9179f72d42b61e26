"""On which grid tiles may begin, and that they then compute what the whole frame would give."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import Axis, Eager, Image, RoutedModule, trace
from edgeflow.flow.grids import found_grids
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Tile


class Shuffled(nn.Module):
    """Works at a third of the size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(27, 27, 1)

    def forward(self, x):
        return F.pixel_shuffle(self.conv(F.pixel_unshuffle(x, 3)), 3)


class Windows(nn.Module):
    """Subtracts from every window of 4x4 its mean."""

    def forward(self, x):
        n, c, h, w = x.shape
        windows = x.view(n, c, h // 4, 4, w // 4, 4)
        return (windows - windows.mean((3, 5), keepdim=True)).reshape(n, c, h, w)


class Squeezed(nn.Module):
    """Channel attention: its mean shrinks to one pixel, which is no grid."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x) * x.mean((2, 3), keepdim=True)


def halved():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 4, 2, 1))


def pooled_twice():
    return nn.Sequential(nn.AvgPool2d(2), nn.MaxPool2d(2), nn.Upsample(scale_factor=4))


NETWORKS = {
    "any pixel": (lambda: nn.Conv2d(3, 3, 3, padding=1), 1),
    "strides": (halved, 2),
    "pooled twice": (pooled_twice, 4),
    "pixel unshuffle": (Shuffled, 3),
    "windows": (Windows, 4),
    "channel attention": (Squeezed, 1),
    "borders lost and found": (lambda: nn.Sequential(nn.Conv2d(3, 3, 5), nn.ConvTranspose2d(3, 3, 5)), 1),
}


class Tiled(RoutedModule):
    inputs = (Image("frame"),)
    outputs = (Image("out"),)
    on = Axis(False, True)

    def __init__(self, net, multiple=None, size=24, halo=6):
        super().__init__()
        self.net, self.tiling = net, {"size": size, "halo": halo, "multiple": multiple}
        self.score = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))

    def flow(self, f, frame):
        tiles = f.tile(frame, **self.tiling)
        route = f.route(tiles, on=f.call(self.score, tiles))
        return f.stitch(f.call(self.run, tiles, on=route.on))

    def run(self, x, on):
        return self.net(x) if on else x


def tiled(name, **options):
    torch.manual_seed(0)
    make, grid = NETWORKS[name]
    return Tiled(make(), **options).eval(), grid


@pytest.mark.parametrize("name", NETWORKS)
def test_the_grid_is_found_and_goes_into_the_program(name):
    model, grid = tiled(name)
    assert found_grids(model, {"height": 50, "width": 70}) == {"tiles": grid}
    (tile,) = (op for op in trace(model).operations if isinstance(op, Tile))
    assert tile.multiple == grid


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "channel attention"])
@pytest.mark.parametrize(("height", "width"), [(48, 60), (60, 36), (24, 96), (84, 84), (47, 61)])
def test_the_inside_of_tiles_is_that_of_the_whole_frame(name, height, width):
    model, grid = tiled(name)
    frame = torch.rand(1, 3, height, width)
    whole = F.pad(frame, (0, -width % grid, 0, -height % grid), mode="replicate")
    made = Eager(model, fixed={"on": True})(frame).outputs[0]
    wanted = model.net(whole)[..., :height, :width].detach()
    assert (made - wanted)[..., 6:-6, 6:-6].abs().max() < 1e-5


def test_tiles_off_the_grid_compute_something_else():
    """What the grid is for: without it, this test's network differs from the whole frame."""
    model, _ = tiled("strides", multiple=1)
    frame = torch.rand(1, 3, 62, 62)
    made = Eager(model, fixed={"on": True})(frame).outputs[0]
    assert (made - model.net(frame).detach()).abs().max() > 1e-2


def test_a_given_multiple_is_taken():
    model, _ = tiled("strides", multiple=8)
    (tile,) = (op for op in trace(model).operations if isinstance(op, Tile))
    assert tile.multiple == 8


def test_tiles_that_have_no_room_for_the_grid_are_refused():
    model, _ = tiled("pooled twice", size=16, halo=7)
    with pytest.raises(FlowError, match="tiles of 16 with a halo of 7 cannot begin at multiples of 4"):
        trace(model)
    with pytest.raises(FlowError, match="cannot begin at multiples of 4"):
        Eager(model)(torch.rand(1, 3, 40, 40))


def test_of_a_segment_for_one_size_nothing_is_found():
    model = Tiled(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 3 * 24 * 24), nn.Unflatten(1, (3, 24, 24)))
    )
    assert found_grids(model, {"height": 50, "width": 70}) == {}
