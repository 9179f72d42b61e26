"""Graphs without their weights: what serves other weights, and what is another graph."""

import math

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.export.lowering.graph_cache import GraphCache
from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.precision.qdq import guest_session


class Plain(nn.Module):
    """A convolution and a normalisation that exporters fold into it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Computed(nn.Module):
    """Weights that are computed from weights, one of them tied, which a folder of constants would do at export."""

    def __init__(self):
        super().__init__()
        self.mix, self.first = nn.Parameter(torch.randn(4, 4)), nn.Conv2d(4, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)
        self.second.weight = self.first.weight

    def forward(self, x):
        y = self.second(self.first(x))
        return (
            torch.einsum("oc,nchw->nohw", self.mix.softmax(1) * self.mix.norm(), y) + self.first.weight.sum()
        )


class Buffers(nn.Module):
    """Buffers, one of which is not saved with the model, and a tensor that is neither."""

    def __init__(self, table=2.0):
        super().__init__()
        self.register_buffer("mean", torch.randn(1, 4, 1, 1))
        self.register_buffer("scale", torch.randn(1, 4, 1, 1), persistent=False)
        self.table = torch.full((1, 4, 1, 1), table)

    def forward(self, x):
        return (x - self.mean) * self.scale.exp() + self.table


class Attention(nn.Module):
    """Matrix products, a normalisation over channels, a softmax, and shapes that are computed."""

    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x.flatten(2).transpose(1, 2))).unsqueeze(1).chunk(3, -1)
        return (
            self.out(F.scaled_dot_product_attention(q, k, v)).squeeze(1).transpose(1, 2).reshape(n, c, h, w)
        )


class Gain(nn.Module):
    """A number that is no weight, in one of the places where a model may keep it."""

    def __init__(self, gain=1.0, where="attribute"):
        super().__init__()
        self.conv, self.gain, self.where = nn.Conv2d(4, 4, 1), [gain], where

    def forward(self, x):
        if self.where == "branch":
            return self.conv(x) * 2 if self.gain[0] > 1 else self.conv(x)
        if self.where == "tensor":
            return self.conv(x) * torch.tensor([self.gain[0]])
        return self.conv(x) * GAIN if self.where == "global" else self.conv(x) * self.gain[0]


GAIN = 1.0


def redrawn(module, seed):
    """The module with other weights and buffers."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return module.eval()


def exported(module, cache, size=(6, 8), free=True):
    x = torch.zeros(2, 4, *size)
    dims = {0: torch.export.Dim("batch", min=1, max=4096)} if free else {}
    segment = SegmentModule(module, {}, (False,), (False,))
    return to_onnx(segment, [x], [dims], ["out.0"], "case", cache=cache)


def error(graph, module, rows=3):
    x = torch.rand(rows, 4, 6, 8)
    with torch.no_grad():
        wanted = module(x).numpy()
    made = guest_session(graph.SerializeToString()).run(None, {"in.0": x.numpy()})[0]
    return float(np.abs(made - wanted).max() / max(np.abs(wanted).max(), 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Plain, Computed, Buffers, Attention, Gain])
def test_other_weights_in_a_known_graph_are_as_if_it_were_exported_anew(kind, tmp_path):
    exported(redrawn(kind(), 1), GraphCache(tmp_path))
    kept = {file.name for file in tmp_path.iterdir()}
    assert len(kept) == 1
    other = redrawn(kind(), 2)
    graph, anew = exported(other, GraphCache(tmp_path)), exported(other, GraphCache())
    assert {file.name for file in tmp_path.iterdir()} == kept, "it was not taken from the cache"
    assert graph.SerializeToString(deterministic=True) == anew.SerializeToString(deterministic=True)
    assert error(graph, other) < 1e-6


@pytest.mark.slow
def test_special_weights_leave_no_trace_in_the_graph(tmp_path):
    """Zeros, ones and what is not finite are what optimisers look for."""
    ordinary = redrawn(Computed(), 3)
    expected = exported(ordinary, GraphCache()).SerializeToString(deterministic=True)
    for value in (0.0, 1.0, math.nan):
        special = redrawn(Computed(), 3)
        for parameter in special.parameters():
            nn.init.constant_(parameter, value)
        cache = GraphCache(tmp_path / str(value))
        exported(special, cache)
        assert exported(ordinary, cache).SerializeToString(deterministic=True) == expected
        assert len(list((tmp_path / str(value)).iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        lambda: Gain(2.0),
        lambda: Gain(1.5, "branch"),
        lambda: Gain(1.0, "tensor"),
        lambda: Gain(math.nan),
        lambda: Gain(-0.0),
    ],
)
def test_what_is_no_weight_makes_another_graph(changed, tmp_path):
    exported(redrawn(Gain(0.0), 1), GraphCache(tmp_path))
    module = redrawn(changed(), 2)
    graph = exported(module, GraphCache(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert math.isnan(module.gain[0]) or error(graph, module) < 1e-6


def test_a_tensor_that_is_no_weight_is_part_of_the_graph(tmp_path):
    for table in (2.0, 3.0):
        module = redrawn(Buffers(table), 1)
        assert error(exported(module, GraphCache(tmp_path)), module) < 1e-6
    assert len(list(tmp_path.iterdir())) == 2


def test_a_number_outside_the_module_makes_another_graph(tmp_path, monkeypatch):
    module = redrawn(Gain(where="global"), 1)
    exported(module, GraphCache(tmp_path))
    monkeypatch.setitem(globals(), "GAIN", 3.0)
    assert error(exported(module, GraphCache(tmp_path)), module) < 1e-6


@pytest.mark.slow
def test_other_shapes_make_another_graph(tmp_path):
    module, cache = redrawn(Attention(), 1), GraphCache(tmp_path)
    exported(module, cache)
    fixed, wide = exported(module, cache, free=False), exported(module, cache, size=(6, 9))
    assert [
        i.type.tensor_type.shape.dim[0].dim_param for i in (fixed.graph.input[0], wide.graph.input[0])
    ] == [
        "",
        "batch",
    ]
    assert len(list(tmp_path.iterdir())) == 3


def test_weights_are_as_large_as_they_are_and_no_copy_is_kept(tmp_path):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 127, padding=63)

        def forward(self, x):
            return self.conv(x)

    module = redrawn(Wide(), 1)
    graph = exported(module, GraphCache(tmp_path))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 20_000 < sum(p.numel() * 4 for p in module.parameters())
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    assert any(np.array_equal(t, module.conv.weight.detach().numpy()) for t in tensors.values())
