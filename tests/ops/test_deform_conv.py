"""What the parity suite does not ask of deformable operators: counts, messages, torchvision's operator."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeflow.export.lowering.onnx_forms import translations
from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.flow import Image, RoutedModule, cost
from edgeflow.ir.errors import ExportError, FlowError
from edgeflow.ops.adabd import adabd, adabd_counts
from edgeflow.ops.deform_conv import deform_conv2d, deform_conv_counts
from edgeflow.ops.hetconv import HetConv
from edgeflow.runtime.backends import open_backend


def operands(n=1, c=4, o=6, height=5, width=7):
    maps = torch.rand(2, n, c, height, width)
    return *maps, torch.randn(n, 18, height, width), torch.rand(n, 9, height, width), torch.rand(o, c, 3, 3)


def test_no_offset_is_a_convolution():
    x, _, _, _, weight = operands(2)
    offset = torch.zeros(2, 18, 3, 5)
    made = deform_conv2d(x, offset, weight, stride=2, padding=(1, 2), dilation=(1, 1))
    torch.testing.assert_close(made, F.conv2d(x, weight, None, 2, (1, 2)))


def test_adabd_is_two_convolutions():
    current, reference, offset, mask, weight = operands(2)
    plain = deform_conv2d(current, torch.zeros_like(offset), weight, padding=1, mask=mask)
    moved = deform_conv2d(reference, offset, weight, padding=1, mask=1 - mask)
    torch.testing.assert_close(adabd(current, reference, offset, mask, weight), plain + moved)


def test_flops_are_those_of_the_product():
    current, reference, offset, mask, weight = operands(2)
    pixels = 2 * 5 * 7
    with FlopCounterMode(display=False) as counter:
        adabd(current, reference, offset, mask, weight)
    assert counter.get_total_flops() == 2 * pixels * weight.numel()
    with FlopCounterMode(display=False) as counter:
        deform_conv2d(current, offset, weight, padding=1)
    assert counter.get_total_flops() == 2 * pixels * weight.numel()


def test_sampling_and_bytes_are_counted_apart():
    shapes = [tuple(x.shape) for x in operands()]
    _, reference, offset, mask, weight = shapes
    counts = adabd_counts(*shapes)
    assert counts.sampling_flops == 35 * 4 * 9 * 10
    assert counts.bytes == 4 * (sum(map(np.prod, shapes)) + 6 * 35)
    counts = deform_conv_counts(reference, offset, weight, None, (1, 1), (1, 1), (1, 1), mask)
    assert (counts.flops, counts.sampling_flops) == (2 * 35 * 6 * 4 * 9, 35 * 4 * 9 * 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": torch.zeros(1, 17, 5, 7)}, "17 channels; wanted 18"),
        ({"offset": torch.zeros(1, 18, 5, 6)}, "wanted 1, 18, 5, 7"),
        ({"mask": torch.zeros(1, 8, 5, 7)}, r"wanted \(1, 9, 5, 7\)"),
        ({"weight": torch.zeros(6, 3, 3, 3)}, "for 4 channels"),
        ({"bias": torch.zeros(5)}, r"wanted \(6,\)"),
        ({"input": torch.zeros(4, 5, 7)}, "4 dimensions"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, message):
    x, _, offset, mask, weight = operands()
    good = {"input": x, "offset": offset, "weight": weight, "mask": mask}
    with pytest.raises(FlowError, match=message):
        deform_conv2d(**{**good, **change}, padding=1)


def test_adabd_names_what_does_not_fit():
    current, reference, offset, mask, weight = operands()
    with pytest.raises(FlowError, match="the mask is"):
        adabd(current, reference, offset, mask[:, :8], weight)
    with pytest.raises(FlowError, match="the reference is"):
        adabd(current, reference[..., 1:], offset, mask, weight)
    with pytest.raises(FlowError, match="3 parts"):
        HetConv(6, 4, parts=3)


def test_training_updates_through_the_operator():
    current, reference, offset, mask, weight = operands()
    weight.requires_grad_()
    adabd(current, reference, offset, mask, weight).sum().backward()
    assert weight.grad is not None and weight.grad.abs().sum() > 0


@pytest.fixture
def torchvision_op():
    """An operator of torchvision's name and schema, as if it were installed."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(
        "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, "
        "SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, "
        "SymInt offset_groups, bool use_mask) -> Tensor"
    )

    def run(x, weight, offset, mask, bias, sh, sw, ph, pw, dh, dw, groups, offset_groups, use_mask):
        pairs = ((sh, sw), (ph, pw), (dh, dw))
        return deform_conv2d(x, offset, weight, bias, *pairs, mask if use_mask else None)

    library.impl("deform_conv2d", run, "CPU")
    library.impl("deform_conv2d", run, "Meta")
    yield torch.ops.torchvision.deform_conv2d
    library._destroy()


class Vision(RoutedModule):
    """A user's model that calls torchvision."""

    inputs = (Image("image", 5, 7),)
    outputs = (Image("made"),)

    def __init__(self, use_mask=True):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 3, 3, 3))
        self.bias = nn.Parameter(torch.rand(3))
        self.use_mask = use_mask

    def convolve(self, image):
        offset = image.mean(1, keepdim=True).expand(-1, 18, -1, -1) * 4
        mask = image[:, :1].expand(-1, 9, -1, -1) if self.use_mask else image.new_zeros(0, 1)
        numbers = (1, 1, 1, 1, 1, 1, 1, 1)
        return torch.ops.torchvision.deform_conv2d(
            image, self.weight, offset, mask, self.bias, *numbers, self.use_mask
        )

    def flow(self, f, image):
        return f.call(self.convolve, image)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["native", "standard"])
@pytest.mark.parametrize("use_mask", [True, False])
def test_torchvisions_operator_is_taken(torchvision_op, form, use_mask):
    model = Vision(use_mask).eval()
    x = torch.rand(2, 3, 5, 7)
    module = SegmentModule(model.convolve, {}, (False,), (False,))
    dims = [{0: torch.export.Dim("batch", min=1, max=8)}]
    graph = to_onnx(module, [x], dims, ["out.0"], "vision", form)
    open_backend("onnxruntime")  # whose thread pool all sessions of this process share
    options = ort.SessionOptions()
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = model.convolve(x)
    np.testing.assert_allclose(session.run(None, {"in.0": x.numpy()})[0], wanted, atol=1e-5, rtol=1e-5)


def test_torchvisions_operator_is_counted(torchvision_op):
    assert cost(Vision()).calls[0].flops == 2 * 35 * 3 * 3 * 9


def test_unknown_forms_are_refused():
    with pytest.raises(ExportError, match="native or standard"):
        translations("strange")
