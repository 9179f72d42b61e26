"""AdaCoF: each output pixel is a weighted sum of samples, whose places are learnt tap by tap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isqrt, prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeflow.ir.errors import FlowError
from edgeflow.ops.custom_op import Counts, OnnxForms, custom_op


def adacof(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int = 1) -> Tensor:
    """Adaptive collaboration of flows.

    Tap (k, l) of output pixel (y, x) reads at row `y + (k - radius) * dilation + alpha` and column
    `x + (l - radius) * dilation + beta`. Offsets are split by truncation toward zero, so a negative one of -0.3 is
    pixel 0 with the share -0.3 of pixel 1: it extrapolates, and bilinear samplers compute something else. Places
    outside the image are those of its border.

    Args:
        image: (n, c, h, w) float.
        weight: (n, side ** 2, h, w) float; taps row by row, side is odd.
        alpha: like `weight`, vertical offsets in pixels.
        beta: like `weight`, horizontal offsets.
        dilation: distance between taps.

    Returns:
        (n, c, h, w).

    Raises:
        FlowError: shapes that do not fit one another, taps that are no odd square, or a dilation below 1.

    Source: Lee et al., AdaCoF (CVPR 2020), Eq. 3; the truncation is its code's.
    """
    n, _, height, width = image.shape
    side = isqrt(weight.shape[1])
    if side**2 != weight.shape[1] or side % 2 == 0:
        raise FlowError(f"adacof: {weight.shape[1]} taps; wanted the square of an odd side, such as 25")
    if dilation < 1:
        raise FlowError(f"adacof: the dilation is {dilation}; wanted 1 or more")
    for name, tensor in {"weight": weight, "alpha": alpha, "beta": beta}.items():
        if tuple(tensor.shape) != (n, side**2, height, width):
            raise FlowError(
                f"adacof: the {name} is {tuple(tensor.shape)}; wanted {(n, side**2, height, width)}"
            )
    made: Tensor = torch.ops.edgeflow.adacof(image, weight, alpha, beta, dilation)
    return made


def plain(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> Tensor:
    """`adacof` tap by tap: all taps at once would hold 100 samples of every pixel."""
    n, c, height, width = image.shape
    side = isqrt(weight.shape[1])
    # The border once more on every side: a place is then that of its first corner, and the others lie beside it. Plane by plane, since
    # taking single numbers is six times as fast as taking pixels of three.
    planes = F.pad(image, (1, 1, 1, 1), mode="replicate").transpose(0, 1).reshape(c, -1)
    start = torch.arange(n, device=image.device).view(-1, 1, 1) * ((height + 2) * (width + 2))
    ys = torch.arange(height, device=image.device).unsqueeze(1)
    xs = torch.arange(width, device=image.device)
    made = [image.new_zeros(n * height * width)] * c
    for tap in range(side**2):
        i, j = ((t - side // 2) * dilation for t in divmod(tap, side))
        top, down = _split(ys + i, alpha[:, tap], height)
        left, right = _split(xs + j, beta[:, tap], width)
        place = (start + (top + 1) * (width + 2) + left + 1).flatten()
        lower = weight[:, tap] * down
        upper = weight[:, tap] - lower
        corners = (
            (0, upper * (1 - right)),
            (1, upper * right),
            (width + 2, lower * (1 - right)),
            (width + 3, lower * right),
        )
        for step, share in corners:
            places, shares = place + step, share.flatten()
            made = [
                torch.addcmul(own, plane.index_select(0, places), shares)
                for own, plane in zip(made, planes, strict=True)
            ]
    return torch.stack(made).view(c, n, height, width).transpose(0, 1)


def _split(places: Tensor, offset: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixels that offsets point to, -1 to size - 1, and the share of the next one, above -1 and below 1."""
    far = _far(size)
    offset = offset.clamp(-far, far)
    whole = offset.detach().trunc()
    return (places + whole.long()).clamp(-1, size - 1), offset - whole


def _far(size: int) -> float:
    """An offset that leaves the image from anywhere: all corners are the border then, so farther is the same."""
    return 2.0 * size + 256


def adacof_counts(
    image: Sequence[int], weight: Sequence[int], alpha: Sequence[int], beta: Sequence[int], dilation: int
) -> Counts:
    """Counts of operands of these shapes: there is no matrix product, all is sampling."""
    moved = 4 * (2 * prod(image) + 3 * prod(weight))
    return Counts(0, prod(weight) * (10 + 8 * image[1]), moved)


def onnx_planes(op: Any, image: Any, weight: Any, alpha: Any, beta: Any, dilation: int) -> Any:
    """A `Gather` for each corner, of whole planes, and sums over the taps.

    Rows of pixels with their neighbours, and a small matrix product for every pixel, are no faster in ONNX Runtime, and five times slower
    in OpenVINO.
    """
    c, height, width = _sizes(image)
    taps = weight.shape[1]
    planes = op.Reshape(op.Transpose(_bordered(op, image), perm=[1, 0, 2, 3]), _ints(op, c, -1))

    def band(first: int, end: int, kernels: Sequence[Any]) -> Any:
        place, shares = _places(op, image, kernels, (isqrt(taps), dilation), range(first, end))
        # Of two dimensions: onnx's shape inference keeps a record of every number of a list of integers.
        flat, own = op.Reshape(place, _ints(op, 1, -1)), (end - first) * width
        made = None
        for step, share in zip((0, 1, width + 2, width + 3), shares, strict=True):
            read = op.Gather(planes, op.Add(flat, _int32(op, step)), axis=1)
            read = op.Reshape(read, _ints(op, c, -1, taps, own))
            weighed = op.Mul(read, op.Reshape(share, _ints(op, 1, -1, taps, own)))
            part = op.ReduceSum(weighed, _ints(op, 2), keepdims=0)
            made = part if made is None else op.Add(made, part)
        return op.Reshape(op.Transpose(made, perm=[1, 0, 2]), _ints(op, -1, c, end - first, width))

    return _by_bands(op, band, (height, width), (weight, alpha, beta), taps)


BAND, MOST_BANDS = 1 << 18, 16
"""Samples, one for each tap of each pixel, that are made at one time, and parts of a picture at most: each takes nodes of its own."""


def _by_bands(
    op: Any,
    band: Callable[[int, int, Sequence[Any]], Any],
    size: tuple[int, int],
    kernels: Sequence[Any],
    taps: int,
) -> Any:
    """A picture (height, width) from bands of its rows: places and samples of one of them lie in memory at a time, and fit caches.

    Every pixel is made as without bands, since each reads the whole image.
    """
    height, width = size
    count = min(-(-taps * height * width // BAND), MOST_BANDS, height)
    if count == 1:
        return band(0, height, kernels)
    ends = [height * i // count for i in range(count + 1)]
    parts = []
    for first, end in pairwise(ends):
        own = [op.Slice(kernel, _ints(op, first), _ints(op, end), _ints(op, 2)) for kernel in kernels]
        parts.append(band(first, end, own))
    return op.Concat(*parts, axis=2)


def _sizes(image: Any) -> tuple[int, int, int]:
    """Channels, height and width of an image.

    Raises:
        FlowError: its size is free.
    """
    c, height, width = image.shape[1:]
    if not all(isinstance(size, int) for size in (height, width)):
        raise FlowError("AdaCoF in standard operators needs the frame's size: export with --size")
    return c, height, width


def _places(
    op: Any, image: Any, kernels: Sequence[Any], tap_grid: tuple[int, int], lines: range
) -> tuple[Any, tuple[Any, ...]]:
    """Corners as numbers of bordered pixels, int32 (n, taps, rows, w), and the four corners' shares.

    Args:
        op: the opset.
        image: all of it, (n, c, h, w).
        kernels: weight, alpha and beta of some rows.
        tap_grid: side of a kernel in taps, and their distance.
        lines: these rows.
    """
    weight, alpha, beta = kernels
    height, width = image.shape[2:]
    side, dilation = tap_grid
    steps = (np.arange(side) - side // 2) * dilation
    rows = np.repeat(steps, side)[:, None, None] + np.array(lines)[:, None]
    columns = np.tile(steps, side)[:, None, None] + np.arange(width)
    top, down = _split_onnx(op, alpha, rows, height)
    left, right = _split_onnx(op, beta, columns, width)
    images = op.Squeeze(op.Shape(image, start=0, end=1), _ints(op, 0))
    starts = op.Range(op.Constant(value_int=0), images, op.Constant(value_int=1))
    starts = op.Mul(op.Cast(starts, to=_INT32), _int32(op, (height + 2) * (width + 2)))
    place = op.Add(op.Mul(op.Add(top, _int32(op, 1)), _int32(op, width + 2)), op.Add(left, _int32(op, 1)))
    place = op.Add(place, op.Reshape(starts, _ints(op, -1, 1, 1, 1)))
    lower = op.Mul(weight, down)
    upper = op.Sub(weight, lower)
    upper_right, lower_right = op.Mul(upper, right), op.Mul(lower, right)
    return place, (op.Sub(upper, upper_right), upper_right, op.Sub(lower, lower_right), lower_right)


def _split_onnx(op: Any, offset: Any, places: NDArray[Any], size: int) -> tuple[Any, Any]:
    """`_split`; numbers are clamped as integers, so that no NaN becomes a place outside."""
    offset = op.Clip(offset, op.Constant(value_float=-_far(size)), op.Constant(value_float=_far(size)))
    whole = op.Cast(offset, to=_INT32)  # rounds toward zero
    table = op.Cast(
        op.Reshape(op.Constant(value_ints=places.ravel().tolist()), _ints(op, 1, *places.shape)), to=_INT32
    )
    place = op.Min(op.Max(op.Add(whole, table), _int32(op, -1)), _int32(op, size - 1))
    return place, op.Sub(offset, op.Cast(whole, to=_FLOAT))


def _bordered(op: Any, image: Any) -> Any:
    return op.Pad(image, _ints(op, 0, 0, 1, 1, 0, 0, 1, 1), mode="edge")


_FLOAT, _INT32 = 1, 6
"""Types, as ONNX numbers them."""


def _ints(op: Any, *values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _int32(op: Any, value: int) -> Any:
    return op.Cast(op.Constant(value_int=value), to=_INT32)


@custom_op("edgeflow::adacof", plain, adacof_counts, OnnxForms(onnx_planes, onnx_planes))
def _op(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> Tensor:
    return image.new_empty(image.shape)


class AdaCoF(nn.Module):
    """`adacof` as a module: a segment that is exactly this runs as a native kernel.

    Args:
        dilation: distance between taps.
    """

    def __init__(self, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation

    def forward(self, image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """See `adacof`."""
        return adacof(image, weight, alpha, beta, self.dilation)
