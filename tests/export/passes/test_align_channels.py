"""Zero channels are appended where convolutions are densely connected, and the function stays the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgeflow.export.passes import run_passes


class Dense(nn.Module):
    """Convolutions that each read all before them; the last may be transposed, or what grew may be read as it is."""

    def __init__(self, channels, widths, joined, end):
        super().__init__()
        self.joined, self.end = joined, end
        channels *= 2 if joined else 1
        totals = [channels + sum(widths[:i]) for i in range(len(widths) + 1)]
        self.convs = nn.ModuleList(nn.Conv2d(t, w, 3, 1, 1) for t, w in zip(totals, widths, strict=False))
        self.last = nn.Conv2d(totals[-1], 2, 1)
        self.up = nn.ConvTranspose2d(totals[-1], 3, 2, 2)

    def forward(self, x):
        x = torch.cat([x.abs(), x], 1) if self.joined else x.abs()
        for conv in self.convs:
            x = torch.cat([conv(x).relu(), x], 1)
        return {"conv": self.last, "transposed": self.up, "mean": lambda x: self.last(x) + x.mean()}[
            self.end
        ](x)


def rewritten(module, channels):
    x = torch.randn(2, channels, 5, 6)
    with torch.no_grad():
        program = torch.onnx.export(module.eval(), (x,), dynamo=True, opset_version=19, verbose=False)
        wanted = module(x).numpy()
    changed = run_passes(program.model_proto, ["align-channels"], "test")
    (made,) = ReferenceEvaluator(changed).run(None, {changed.graph.input[0].name: x.numpy()})
    np.testing.assert_allclose(made, wanted, atol=1e-5)
    return changed


def input_channels(model):
    """Of every convolution."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    axis = {"Conv": 1, "ConvTranspose": 0}
    return [shapes[node.input[1]][axis[node.op_type]] for node in model.graph.node if node.op_type in axis]


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    st.integers(16, 40),
    st.lists(st.sampled_from([4, 8, 12]), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["conv", "transposed"]),
)
def test_every_convolution_of_a_chain_is_aligned(channels, widths, joined, end):
    torch.manual_seed(channels)
    changed = rewritten(Dense(channels, widths, joined, end), channels)
    assert all(count % 4 == 0 for count in input_channels(changed))


@pytest.mark.parametrize(("channels", "end"), [(17, "mean"), (3, "conv")])
def test_what_is_read_otherwise_or_small_stays(channels, end):
    """Zeros would change a mean; three channels of a picture are read unblocked anyway."""
    changed = rewritten(Dense(channels, [4], False, end), channels)
    assert input_channels(changed) == [channels, channels + 4]


class Heads(nn.Module):
    """A convolution whose pictures are enlarged, and one that is read before its activation, too; the last one is used twice."""

    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(channels)
        self.first, self.slopes = nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.second, self.third = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(channels, 2, 1)

    def forward(self, x):
        x = self.second(self.up(self.slopes(self.first(x)).relu()))
        return self.last(x.relu()) + self.last(self.third(x)) + x.mean()


def test_convolutions_make_their_zeros():
    changed = rewritten(Heads(17), 3)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in changed.graph.initializer}
    convs = [shapes[node.input[1]][:2] for node in changed.graph.node if node.op_type == "Conv"]
    assert convs == [(20, 3), (17, 20), (20, 17), (2, 20), (2, 20)]
    order = [node.op_type for node in changed.graph.node]
    assert order.count("Concat") == 1  # for what is read before its activation
