from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.ops.cost_volume import cost_volume
from edgeflow.ops.resize import bicubic
from edgeflow.ops.warp import warp


def plain_cost_volume(first, second, radius):
    count, _, height, width = first.shape
    side = 2 * radius + 1
    out = torch.zeros(count, side**2, height, width, dtype=first.dtype)
    for n, dy, dx, y, x in product(range(count), range(side), range(side), range(height), range(width)):
        v, u = y + dy - radius, x + dx - radius
        if 0 <= v < height and 0 <= u < width:
            out[n, dy * side + dx, y, x] = (first[n, :, y, x] * second[n, :, v, u]).mean()
    return out


@pytest.mark.parametrize(("radius", "size"), [(1, (4, 5)), (2, (3, 6)), (3, (2, 2))])
def test_cost_volume_is_the_plain_loop(radius, size):
    first, second = torch.rand(2, 2, 3, *size)
    torch.testing.assert_close(cost_volume(first, second, radius), plain_cost_volume(first, second, radius))


def plain_warp(image, flow):
    count, _, height, width = image.shape
    out = torch.zeros_like(image)
    for n, y, x in product(range(count), range(height), range(width)):
        u, v = x + float(flow[n, 0, y, x]), y + float(flow[n, 1, y, x])
        if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
            continue
        left, top = min(int(u), width - 2), min(int(v), height - 2)
        a, b = u - left, v - top
        for dy, dx, weight in (
            (0, 0, (1 - a) * (1 - b)),
            (0, 1, a * (1 - b)),
            (1, 0, (1 - a) * b),
            (1, 1, a * b),
        ):
            out[n, :, y, x] += weight * image[n, :, top + dy, left + dx]
    return out


@pytest.mark.parametrize("reach", [0.0, 0.7, 3.0, 1000.0])
def test_warp_is_the_plain_loop(reach):
    torch.manual_seed(int(reach))
    image = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    flow = (torch.rand(2, 2, 6, 7, dtype=torch.float64) * 2 - 1) * reach
    torch.testing.assert_close(warp(image, flow), plain_warp(image, flow))


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


def test_gradients():
    torch.manual_seed(0)
    first, second = (torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: cost_volume(a, b, 1), (first, second))
    flow = (torch.rand(1, 2, 3, 4, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(warp, (first, flow))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_bicubic_is_torchs_own(h, w, height, width, seed):
    image = torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(seed))
    wanted = F.interpolate(image, (height, width), mode="bicubic", align_corners=False)
    assert (bicubic(image, height, width) - wanted).abs().max() < 2e-5


def test_bicubic_has_its_gradient():
    image = torch.rand(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bicubic(x, 3, 9), image)
