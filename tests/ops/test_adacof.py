"""AdaCoF, splatting and the upsampler refuse what does not fit; what AdaCoF's truncation means."""

import pytest
import torch

from edgeflow.ir.errors import FlowError
from edgeflow.ops.adacof import adacof, adacof_counts
from edgeflow.ops.splat import splat
from edgeflow.ops.upsample import HALFWAY, upsample8


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
