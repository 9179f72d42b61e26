"""AdaCoF, splatting and the upsampler refuse what does not fit; what AdaCoF's truncation means."""

import numpy as np
import pytest
import torch

from edgeflow.export.activations import activations
from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.ir.errors import FlowError
from edgeflow.ir.plan import Port
from edgeflow.ops.adacof import AdaCoF, adacof, adacof_counts
from edgeflow.ops.splat import splat
from edgeflow.ops.upsample import HALFWAY, upsample8
from edgeflow.runtime.backends import open_backend


def one_tap(alpha, beta):
    """A ramp of 5x5 pixels, read through one tap."""
    image = torch.arange(5.0).view(1, 1, 1, 5) + 10 * torch.arange(5.0).view(1, 1, 5, 1)
    plane = torch.ones(1, 1, 5, 5)
    return image, adacof(image, plane, alpha * plane, beta * plane)


def test_offsets_are_cut_toward_zero():
    """On a ramp extrapolating is right; at the border, where the next pixel is the border again, it is not."""
    image, moved = one_tap(-0.25, 0.5)
    torch.testing.assert_close(moved[..., :4, :4], image[..., :4, :4] - 2.5 + 0.5)
    torch.testing.assert_close(
        moved[..., 4, :4], image[..., 4, :4] + 0.5
    )  # a floor would have read the row above


def test_counts():
    shape = (1, 25, 4, 6)
    counted = adacof_counts((1, 3, 4, 6), shape, shape, shape, 1)
    assert (counted.flops, counted.sampling_flops) == (0, 25 * 24 * 34)
    assert counted.bytes == 4 * (2 * 72 + 3 * 600)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda image: adacof(image, *[torch.ones(1, 8, 4, 6)] * 3),
            "8 taps; wanted the square of an odd side",
        ),
        (lambda image: adacof(image, *[torch.ones(1, 16, 4, 6)] * 3), "16 taps"),
        (lambda image: adacof(image, *[torch.ones(1, 9, 4, 5)] * 3), r"the weight is \(1, 9, 4, 5\)"),
        (lambda image: adacof(image, *[torch.ones(1, 9, 4, 6)] * 3, dilation=0), "the dilation is 0"),
        (lambda image: splat(image, torch.zeros(1, 3, 4, 6)), r"the flow is \(1, 3, 4, 6\)"),
        (lambda image: upsample8(image, HALFWAY.expand(3, 1, 1, 8)), "the picture is 4x6; wanted 5 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(FlowError, match=said):
        call(torch.zeros(1, 3, 4, 6))


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_bands_of_rows_make_the_same_picture_in_less_memory(library, tmp_path, monkeypatch):
    torch.manual_seed(0)
    image, weight = torch.rand(1, 3, 40, 32), torch.rand(1, 9, 40, 32) / 9
    inputs = [image, weight, torch.randn(1, 9, 40, 32) * 9, torch.randn(1, 9, 40, 32) * 9]
    segment = SegmentModule(AdaCoF().eval(), {}, (False,) * 4, (False,))
    held = {}
    for band in (1 << 20, 1 << 11):
        monkeypatch.setattr("edgeflow.ops.adacof.BAND", band)
        path = tmp_path / f"{band}.onnx"
        path.write_bytes(to_onnx(segment, inputs, [{}] * 4, ["out.0"], "case").SerializeToString())
        held[band] = activations(path, {f"in.{i}": each.shape for i, each in enumerate(inputs)}).bytes
    ports = [Port(f"in.{i}", f"in.{i}", tuple(each.shape[1:]), "float32") for i, each in enumerate(inputs)]
    engine = open_backend(library).load(path, ports, [Port("out.0", "out.0", (3, 40, 32), "float32")], {})
    made = np.empty((1, 3, 40, 32), np.float32)
    engine.run([each.numpy() for each in inputs], [made])
    torch.testing.assert_close(torch.from_numpy(made), adacof(*inputs), atol=1e-5, rtol=1e-5)
    assert held[1 << 11] < held[1 << 20] / 3
