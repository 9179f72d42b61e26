"""Segments of tiles that let one tile influence another are refused, however little."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.pack.region_mixing import check_apart
from edgeflow.flow import Image, RoutedModule
from edgeflow.ir.errors import ExportError
from edgeflow.targets import load

MIXING = {
    "the batch as channels": lambda x: x.view(1, -1, *x.shape[2:]).mean(1, keepdim=True).expand_as(x),
    "the first region": lambda x: x + x[:1],
    "the last region": lambda x: x * x[-1:].mean(),
    "a statistic": lambda x: x - x.mean((0, 2, 3), keepdim=True),
    "a weak statistic": lambda x: x + 1e-6 * x.std(0, keepdim=True),
    "a softmax": lambda x: F.softmax(x, 0),
    "a roll": lambda x: torch.roll(x, 1, 0),
    "sorting": lambda x: x.sort(0).values,
    "batch statistics": nn.BatchNorm2d(3).train(),
}


@pytest.mark.parametrize("name", MIXING)
def test_regions_that_influence_one_another_are_refused(name):
    with pytest.raises(
        ExportError, match="segment part: what it makes of a tile changes with the other tiles"
    ):
        check_apart(MIXING[name], [torch.rand(1, 3, 8, 8)], "segment part")


APART = {
    "a convolution": nn.Conv2d(3, 5, 3),
    "statistics of a region": lambda x: x - x.mean((1, 2, 3), keepdim=True),
    "several outputs": lambda x: {"a": x.flatten(1), "b": x.amax((2, 3))},
    "a matrix product": lambda x: x @ x.transpose(2, 3),
    "not finite": lambda x: x / 0.0,
}


@pytest.mark.parametrize("name", APART)
def test_regions_apart_are_taken(name):
    check_apart(APART[name], [torch.rand(1, 3, 8, 8)], "segment part")


def test_what_runs_on_one_tile_alone_says_so():
    with pytest.raises(ExportError, match=r"runs on one tile, not on three at a time \(shape"):
        check_apart(lambda x: x.view(1, 3, 8, 8), [torch.rand(1, 3, 8, 8)], "segment part")
    with pytest.raises(ExportError, match=r"makes \(1, 3\) of three tiles: the first dimension counts them"):
        check_apart(lambda x: x.mean((0, 2, 3))[None], [torch.rand(1, 3, 8, 8)], "segment part")


class Normalised(RoutedModule):
    inputs = (Image("frame"),)
    outputs = (Image("out"),)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def flow(self, f, frame):
        return f.stitch(f.call(self.part, f.tile(frame, size=16, halo=2)))

    def part(self, tiles):
        x = self.conv(tiles)
        return x - 1e-4 * x.mean(0, keepdim=True)


def test_an_export_of_such_a_model_is_refused(tmp_path):
    with pytest.raises(ExportError, match="segment part: what it makes of a tile changes"):
        compile_model(Normalised().eval(), load("cpu"), tmp_path / "b.edgeflow", reference={})
    assert not (tmp_path / "b.edgeflow").exists()
