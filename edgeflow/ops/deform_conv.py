"""Deformable convolution: every tap of a convolution reads where an offset points, and may be masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeflow.ir.errors import FlowError
from edgeflow.ops import deform_conv_onnx
from edgeflow.ops.custom_op import Counts, OnnxForms, custom_op

Pair: TypeAlias = int | tuple[int, int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Deformable convolution, version 1, or 2 with a mask. Arguments as of `torchvision.ops.deform_conv2d`.

    Tap k of output pixel p reads `input` bilinearly at `p * stride - padding + k * dilation + offset`; what
    lies outside counts as zero. The sample is scaled by the mask.

    Args:
        input: (n, c, h, w) float.
        offset: (n, 2 * offset_groups * kh * kw, oh, ow) float, in pixels: (dy, dx) per tap, taps row by
            row. Offset group g moves channels `g * c / offset_groups` and following.
        weight: (o, c / groups, kh, kw).
        bias: (o,).
        stride: of the output grid, or (vertical, horizontal).
        padding: zeros around the input.
        dilation: distance between taps.
        mask: (n, offset_groups * kh * kw, oh, ow); ones if None.

    Returns:
        (n, o, oh, ow), sized as a convolution's.

    Raises:
        FlowError: shapes that do not fit one another.

    Source: Zhu et al., Deformable ConvNets v2 (CVPR 2019), Eq. 1.
    """
    pairs = (_pair(stride), _pair(padding), _pair(dilation))
    _check(input, offset, weight, bias, *pairs, mask)
    made: Tensor = torch.ops.edgeflow.deform_conv2d(input, offset, weight, bias, *pairs, mask)
    return made


def reference(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Tensor | None,
) -> Tensor:
    """`deform_conv2d` by gathers and one matrix product."""
    columns = sampled_columns(input, offset, mask, weight.shape[2:], stride, padding, dilation)
    made = product(columns, weight).reshape(input.shape[0], -1, *offset.shape[2:])
    return made if bias is None else made + bias.view(-1, 1, 1)


def sampled_columns(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Every tap's sample, masked, before the product.

    Positions are clamped to one pixel outside, where everything is zero, so no corner needs a test.

    Returns:
        (n, oh * ow, kh * kw, c).
    """
    n, c, height, width = input.shape
    taps, pixels = prod(kernel), offset.shape[2] * offset.shape[3]
    moves = offset.reshape(n, -1, taps, 2, *offset.shape[2:])
    groups = moves.shape[1]
    y, x = (_grid(moves, axis, kernel, stride, padding, dilation) for axis in (0, 1))
    y, x = y.clamp(-1, height), x.clamp(-1, width)
    top, left = y.detach().floor().clamp(max=height - 1), x.detach().floor().clamp(max=width - 1)
    down, right = y - top, x - left
    image = F.pad(input, (1, 1, 1, 1)).reshape(n, groups, c // groups, height + 2, width + 2)
    rows = image.permute(0, 1, 3, 4, 2).reshape(-1, c // groups)
    planes = torch.arange(n * groups, device=input.device).view(n, groups, 1, 1, 1)
    place = ((planes * (height + 2) + top.long() + 1) * (width + 2) + left.long() + 1).flatten(3)
    corners = (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (width + 2, down * (1 - right)),
        (width + 3, down * right),
    )
    # `embedding` gathers whole rows of channels, and is the fastest gather to differentiate.
    scale = 1.0 if mask is None else mask.reshape(place.shape).unsqueeze(4)
    samples = sum(
        F.embedding(place + step, rows) * (share.flatten(3).unsqueeze(4) * scale) for step, share in corners
    )
    assert isinstance(samples, Tensor)
    return samples.permute(0, 3, 2, 1, 4).reshape(n, pixels, taps, c)


def product(columns: Tensor, weight: Tensor) -> Tensor:
    """Columns (n, pixels, taps, c) times the weight (o, c / groups, kh, kw): (n, o, pixels)."""
    n, pixels, taps, c = columns.shape
    inside = weight.shape[1]
    groups = c // inside
    matrix = weight.reshape(groups, -1, inside, taps).permute(0, 3, 2, 1).reshape(groups, taps * inside, -1)
    split = columns.reshape(n, pixels, taps, groups, inside).permute(0, 3, 1, 2, 4)
    made = split.reshape(n, groups, pixels, taps * inside) @ matrix
    return made.permute(0, 1, 3, 2).reshape(n, -1, pixels)


def deform_conv_counts(
    input: Sequence[int],
    offset: Sequence[int],
    weight: Sequence[int],
    bias: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Sequence[int] | None,
) -> Counts:
    """Counts of a deformable convolution of operands of these shapes."""
    pixels = offset[0] * offset[2] * offset[3]
    values = pixels * input[1] * weight[2] * weight[3]
    operands = [input, offset, weight, *(shape for shape in (bias, mask) if shape is not None)]
    moved = 4 * (sum(map(prod, operands)) + pixels * weight[0])
    return Counts(2 * pixels * prod(weight), values * (8 if mask is not None else 7), moved)


@custom_op(
    "edgeflow::deform_conv2d",
    reference,
    deform_conv_counts,
    OnnxForms(deform_conv_onnx.native, deform_conv_onnx.standard),
)
def _op(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Tensor | None,
) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[0], offset.shape[2], offset.shape[3])


def from_torchvision(
    function: Callable[..., Any],
    input: Any,
    weight: Any,
    offset: Any,
    mask: Any,
    bias: Any,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Any:
    """Call a function of `edgeflow::deform_conv2d`'s arguments with those of `torchvision::deform_conv2d`."""
    pairs = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    return function(input, offset, weight, bias, *pairs, mask if use_mask else None)


def torchvision_formulas() -> dict[Any, Callable[..., int]]:
    """How `FlopCounterMode` counts torchvision's operator, if torchvision was imported."""
    if not hasattr(torch.ops.torchvision, "deform_conv2d"):
        return {}

    def flops(*shapes: Any, out_shape: Any = None, **_: Any) -> int:
        return from_torchvision(deform_conv_counts, *shapes).flops  # type: ignore[no-any-return]

    return {torch.ops.torchvision.deform_conv2d: flops}


def _grid(
    moves: Tensor,
    axis: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Where taps read along one axis: (n, groups, taps, oh, ow)."""
    steps = torch.arange(moves.shape[4 + axis], dtype=moves.dtype, device=moves.device)
    taps = torch.arange(moves.shape[2], device=moves.device)
    tap = taps // kernel[1] if axis == 0 else taps % kernel[1]
    start = (tap * dilation[axis] - padding[axis]).to(moves.dtype).view(-1, 1, 1)
    along = (steps * stride[axis]).unsqueeze(1) if axis == 0 else steps * stride[axis]
    return moves[:, :, :, axis] + start + along


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _check(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Tensor | None,
) -> None:
    """Refuse what does not fit, before an index goes astray."""

    def need(fits: bool, what: str) -> None:
        if not fits:
            raise FlowError(f"deform_conv2d: {what}")

    need(
        all(x.dim() == 4 for x in (input, offset, weight)), "input, offset and weight have 4 dimensions each"
    )
    c, (o, inside, *kernel) = input.shape[1], weight.shape
    taps = prod(kernel)
    need(c % inside == 0 and o % (c // inside) == 0, f"a weight {tuple(weight.shape)} for {c} channels")
    groups = offset.shape[1] // (2 * taps)
    need(
        groups > 0 and offset.shape[1] == 2 * taps * groups and c % groups == 0,
        f"the offset has {offset.shape[1]} channels; wanted {2 * taps} per offset group of the {c} channels",
    )
    sides = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(input.shape[2:], padding, dilation, kernel, stride, strict=True)
    ]
    wanted = (input.shape[0], *sides)
    need(
        (offset.shape[0], *offset.shape[2:]) == wanted,
        f"the offset is {tuple(offset.shape)}; wanted {wanted[0]}, {offset.shape[1]}, {sides[0]}, {sides[1]}",
    )
    if mask is not None:
        shape = (wanted[0], taps * groups, *sides)
        need(tuple(mask.shape) == shape, f"the mask is {tuple(mask.shape)}; wanted {shape}")
    if bias is not None:
        need(tuple(bias.shape) == (o,), f"the bias is {tuple(bias.shape)}; wanted ({o},)")
