import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.ops.resize import bicubic
from edgeflow.ops.warp import warp


def test_warping_by_whole_pixels_shifts():
    image = torch.rand(1, 2, 5, 6)
    flow = torch.zeros(1, 2, 5, 6)
    flow[:, 0], flow[:, 1] = 2, -1
    shifted = torch.zeros_like(image)
    shifted[..., 1:, :4] = image[..., :4, 2:]
    torch.testing.assert_close(warp(image, flow), shifted, atol=1e-5, rtol=1e-5)


def test_warping_far_outside_gives_zero():
    image = torch.ones(1, 1, 4, 4)
    for far in (-50.0, 4.0, 1e6):
        assert warp(image, torch.full((1, 2, 4, 4), far)).abs().max() == 0


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_bicubic_is_torchs_own(h, w, height, width, seed):
    image = torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(seed))
    wanted = F.interpolate(image, (height, width), mode="bicubic", align_corners=False)
    assert (bicubic(image, height, width) - wanted).abs().max() < 2e-5
