"""What an export says of tiles that are not as the whole frame."""

from __future__ import annotations

import torch
from torch import nn

from edgeflow.export.pack.seams import seam_remarks
from edgeflow.flow import Image, RoutedModule, trace


class Tiled(RoutedModule):
    inputs = (Image("frame"),)
    outputs = (Image("out"),)

    def __init__(self, net, **tiling):
        super().__init__()
        self.net, self.tiling = net, tiling

    def flow(self, f, frame):
        return f.stitch(f.call(self.net, f.tile(frame, **self.tiling)))


def remarks(net, **tiling):
    torch.manual_seed(0)
    model = Tiled(net, **tiling).eval()
    return seam_remarks(model, trace(model), {})


def blur(size):
    conv = nn.Conv2d(3, 3, size, padding=size // 2, groups=3, bias=False)
    conv.weight.data.fill_(1 / size**2)
    return conv


class Mean(nn.Module):
    """Compares each pixel with the mean of all."""

    def forward(self, x):
        return x - 0.5 * x.mean((2, 3), keepdim=True)


def test_a_halo_that_holds_what_the_network_sees_needs_no_word():
    assert remarks(blur(9), size=32, halo=4) == []


def test_a_halo_that_is_too_small_is_said_and_by_how_much():
    (line,) = remarks(blur(9), size=32, halo=1)
    assert "tiles of 32 pixels with a halo of 1 differ from the whole frame by up to" in line
    assert int(line.split("up to ")[1].split()[0]) > 5


def test_statistics_of_a_tile_are_said():
    (line,) = remarks(Mean(), size=32, halo=8)
    assert "or takes statistics of a tile" in line


def test_a_grid_that_is_too_fine_is_said():
    pooled = nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=4))
    assert remarks(pooled, size=32, halo=4) == []
    first, *_ = remarks(pooled, size=32, halo=3, multiple=1)
    assert first.startswith(
        "tiles begin at multiples of 1 pixels as f.tile says, but their segments work on a grid of 4"
    )


def test_a_model_that_is_judged_in_tiles_needs_no_word():
    model = Tiled(blur(9), size=32, halo=1).eval()
    model.judged_in_tiles = True
    assert seam_remarks(model, trace(model), {}) == []
