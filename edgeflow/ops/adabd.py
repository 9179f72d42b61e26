"""AdaBD: adaptive blending and deformation, one convolution that reads two feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import FlowError
from edgeflow.ops import deform_conv_onnx
from edgeflow.ops.custom_op import Counts, OnnxForms, custom_op
from edgeflow.ops.deform_conv import product, sampled_columns

TAPS = 9
"""Taps of the 3x3 kernel, row by row."""


def adabd(current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Blend the taps of two feature maps, then multiply by the weight once.

    Tap k of pixel p is `mask * current[p + k] + (1 - mask) * reference[p + k + offset]`, where the second is
    read bilinearly and what lies outside either map counts as zero.

    Args:
        current: (n, c, h, w) float, read on the plain grid.
        reference: (n, c, h, w) float, read where the offsets point.
        offset: (n, 18, h, w) float, in pixels: (dy, dx) per tap, taps row by row.
        mask: (n, 9, h, w), in [0, 1]: the share of `current` in each tap.
        weight: (o, c, 3, 3).

    Returns:
        (n, o, h, w).

    Raises:
        FlowError: shapes that do not fit one another.

    Source: Shortcut-V2V, Eq. 5. Eq. 6 is the same as two masked deformable convolutions.
    """
    _check(current, reference, offset, mask, weight)
    made: Tensor = torch.ops.edgeflow.adabd(current, reference, offset, mask, weight)
    return made


def plain(current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """`adabd` by gathers and one matrix product."""
    n, c, height, width = current.shape
    columns = sampled_columns(reference, offset, 1 - mask, (3, 3), (1, 1), (1, 1), (1, 1))
    straight = F.unfold(current, 3, padding=1).reshape(n, c, TAPS, -1) * mask.flatten(2).unsqueeze(1)
    return product(columns + straight.permute(0, 3, 2, 1), weight).reshape(n, -1, height, width)


def adabd_counts(
    current: Sequence[int],
    reference: Sequence[int],
    offset: Sequence[int],
    mask: Sequence[int],
    weight: Sequence[int],
) -> Counts:
    """Counts of an AdaBD of operands of these shapes."""
    pixels = current[0] * current[2] * current[3]
    moved = 4 * (sum(map(prod, (current, reference, offset, mask, weight))) + pixels * weight[0])
    return Counts(2 * pixels * prod(weight), 10 * pixels * current[1] * TAPS, moved)


def onnx_native(op: Any, current: Any, reference: Any, offset: Any, mask: Any, weight: Any) -> Any:
    """Eq. 6: two `DeformConv`, one of them with offsets of zero.

    No form of standard operators was faster; the blend of Eq. 5 before one product is the native kernel's.
    """
    still = op.Expand(op.Constant(value_float=0.0), op.Shape(offset))
    rest = op.Sub(op.Constant(value_float=1.0), mask)
    bias = op.Constant(value_floats=[0.0] * weight.shape[0])
    plain_half = deform_conv_onnx.node(op, current, weight, still, bias, mask, padding=(1, 1))
    moved_half = deform_conv_onnx.node(op, reference, weight, offset, bias, rest, padding=(1, 1))
    return op.Add(plain_half, moved_half)


def onnx_standard(op: Any, current: Any, reference: Any, offset: Any, mask: Any, weight: Any) -> Any:
    """Eq. 5: the sampled taps are blended, then meet one 1x1 convolution."""
    c, height, width = current.shape[1:]
    sampled = deform_conv_onnx.sampled_columns(op, reference, offset, (3, 3), (1, 1), (1, 1), (1, 1))
    padded = op.Pad(current, op.Constant(value_ints=[0, 0, 1, 1, 0, 0, 1, 1]))
    taps = [
        op.Slice(
            padded,
            op.Constant(value_ints=[dy, dx]),
            op.Constant(value_ints=[dy + height, dx + width]),
            op.Constant(value_ints=[2, 3]),
        )
        for dy in range(3)
        for dx in range(3)
    ]
    straight = op.Concat(*(op.Unsqueeze(tap, op.Constant(value_ints=[1, 3])) for tap in taps), axis=3)
    share = op.Unsqueeze(mask, op.Constant(value_ints=[1, 2]))
    blended = op.Add(sampled, op.Mul(share, op.Sub(straight, sampled)))
    columns = op.Reshape(blended, op.Constant(value_ints=[-1, c * TAPS, height, width]))
    return op.Conv(columns, op.Reshape(weight, op.Constant(value_ints=[weight.shape[0], -1, 1, 1])))


@custom_op("edgeflow::adabd", plain, adabd_counts, OnnxForms(onnx_native, onnx_standard))
def _op(current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return current.new_empty(current.shape[0], weight.shape[0], *current.shape[2:])


class AdaBD(nn.Module):
    """`adabd` with a weight of its own: a segment that is exactly this runs as a native kernel.

    Args:
        channels: of both maps, and of the result.
        weight: (o, channels, 3, 3); Xavier-uniform if None. A parameter given is shared.
    """

    def __init__(self, channels: int, weight: nn.Parameter | None = None) -> None:
        super().__init__()
        if weight is None:
            weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(channels, channels, 3, 3)))
        self.weight = weight

    def forward(self, current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """See `adabd`."""
        return adabd(current, reference, offset, mask, self.weight)


def _check(current: Tensor, reference: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> None:
    n, c, height, width = current.shape
    wanted = {
        "reference": (reference, (n, c, height, width)),
        "offset": (offset, (n, 2 * TAPS, height, width)),
        "mask": (mask, (n, TAPS, height, width)),
        "weight": (weight, (weight.shape[0], c, 3, 3)),
    }
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise FlowError(f"adabd: the {name} is {tuple(tensor.shape)}; wanted {shape}")
