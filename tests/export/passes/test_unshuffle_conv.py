import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from edgeflow.export.passes import run_passes
from edgeflow.ir.errors import ExportError
from edgeflow.runtime.backends import open_backend


class Unshuffled(nn.Module):
    """A convolution of one or two unshuffled pictures; the first is read once more beside it."""

    def __init__(self, r, channels, pictures, kernel, stride, groups=1):
        super().__init__()
        self.r, self.pictures = r, pictures
        inputs = channels * pictures * r * r
        self.conv = nn.Conv2d(inputs, 4 * groups, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x, y):
        split = [F.pixel_unshuffle(p, self.r) for p in (x, y)[: self.pictures]]
        return self.conv(torch.cat(split, 1) if len(split) > 1 else split[0]), x + y


def exported(module, x):
    with torch.no_grad():
        program = torch.onnx.export(module.eval(), (x, x), dynamo=True, opset_version=19, verbose=False)
    return program.model_proto


def run(model, x, y):
    import onnxruntime as ort

    open_backend("onnxruntime")
    options = ort.SessionOptions()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, (x, y), strict=True)))


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from([2, 3, 4]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.tuples(st.integers(1, 4), st.integers(2, 5)),
)
def test_one_convolution_of_the_picture_is_equal(r, channels, pictures, kernel, stride, sides):
    torch.manual_seed(r + channels)
    x, y = torch.randn(2, 2, channels, sides[0] * r, sides[1] * r)
    model = exported(Unshuffled(r, channels, pictures, kernel, stride), x)
    changed = run_passes(model, ["unshuffle-conv"], "test")
    assert [n.op_type for n in changed.graph.node].count("Transpose") == 0
    (conv,) = [n for n in changed.graph.node if n.op_type == "Conv"]
    sides_of = next(a.ints for a in conv.attribute if a.name == "kernel_shape")
    assert list(sides_of) == [kernel * r, kernel * r]
    for a, b in zip(*(run(m, x.numpy(), y.numpy()) for m in (model, changed)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_what_is_no_plain_convolution_of_unshuffled_pictures_stays():
    x = torch.randn(1, 2, 8, 8)
    grouped = exported(Unshuffled(2, 2, 1, 3, 1, groups=2), x)
    assert run_passes(grouped, ["unshuffle-conv"], "test") is grouped

    class Half(nn.Module):
        """One part of the convolution's input was not unshuffled."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(9, 4, 3)

        def forward(self, x, y):
            return self.conv(torch.cat([F.pixel_unshuffle(x, 2), y[:, :1, ::2, ::2]], 1))

    half = exported(Half(), x)
    assert run_passes(half, ["unshuffle-conv"], "test") is half


def test_an_unknown_rewrite_is_refused():
    with pytest.raises(ExportError, match=r"no rewrite 'faster'.*polyphase-resize"):
        run_passes(onnx.ModelProto(), ["faster"], "test")
