"""Forward warping: every pixel is added where its flow points."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeflow.ir.errors import FlowError
from edgeflow.ops.custom_op import composite_op


def splat(values: Tensor, flow: Tensor) -> Tensor:
    """Add every pixel to the four pixels around the place that `flow` moves it to, by bilinear shares.

    Args:
        values: (n, c, h, w) float.
        flow: (n, 2, h, w) float, x then y, in pixels.

    Returns:
        (n, c, h, w) sums; zero where nothing lands, and what lands outside is lost.

    Raises:
        FlowError: shapes that do not fit one another.

    Source: Niklaus and Liu, Softmax Splatting (CVPR 2020), Eq. 3-6 (summation splatting).
    """
    n, _, height, width = values.shape
    if tuple(flow.shape) != (n, 2, height, width):
        raise FlowError(f"splat: the flow is {tuple(flow.shape)}; wanted {(n, 2, height, width)}")
    made: Tensor = torch.ops.edgeflow.splat(values, flow)
    return made


def softmax_splat(image: Tensor, flow: Tensor, metric: Tensor) -> Tensor:
    """Forward warping where pixels that land together are averaged, weighted by `exp(metric)`.

    Args:
        image: (n, c, h, w) float.
        flow: (n, 2, h, w) float, x then y, in pixels.
        metric: (n, 1, h, w) float: how much a pixel counts beside others.

    Returns:
        (n, c, h, w); zero where nothing lands.

    Raises:
        FlowError: shapes that do not fit one another.

    Source: Softmax Splatting, Eq. 9. The largest metric of a picture is subtracted from all, which changes nothing but overflow.
    """
    importance = (metric - metric.detach().amax((1, 2, 3), keepdim=True)).exp()
    sums = splat(torch.cat([image * importance, importance], 1), flow)
    total = sums[:, -1:]
    return sums[:, :-1] / torch.where(total == 0, torch.ones_like(total), total)


@composite_op("edgeflow::splat")
def plain(values: Tensor, flow: Tensor) -> Tensor:
    """`splat` by one scatter: pixels and corners come one after another, and are added in that order on a CPU."""
    n, c, height, width = values.shape
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0].clamp(
        -2.0 * width, 2.0 * width
    )
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).unsqueeze(1)
    ys = ys + flow[:, 1].clamp(-2.0 * height, 2.0 * height)
    left, top = xs.detach().floor(), ys.detach().floor()
    right, down = xs - left, ys - top
    places, shares = [], []
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = left + j, top + i
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        place = (y * width + x).clamp(0, height * width - 1)
        share = (down if i else 1 - down) * (right if j else 1 - right)
        places.append(place.long().flatten(1))
        shares.append((share * inside.to(share.dtype)).flatten(1))
    place = torch.stack(places, 1).flatten(1).unsqueeze(1).expand(n, c, 4 * height * width)
    parts = values.flatten(2).unsqueeze(2) * torch.stack(shares, 1).unsqueeze(1)
    made = values.new_zeros(n, c, height * width).scatter_add(2, place, parts.flatten(2))
    return made.view(n, c, height, width)
