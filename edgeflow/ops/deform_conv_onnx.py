"""Deformable convolution in ONNX: around `DeformConv`, or of operators that every engine library has.

`op` is onnxscript's namespace of the opset. Shapes are known but for the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import FlowError


def native(
    op: Any,
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Any,
) -> Any:
    """`DeformConv`, always with bias and mask: an engine library may lack the operator without them."""
    o, inside, *kernel = weight.shape
    if bias is None:
        bias = op.Constant(value_floats=[0.0] * o)
    if mask is None:
        taps = [offset.shape[1] // 2]
        shape = (op.Shape(offset, start=0, end=1), op.Constant(value_ints=taps), op.Shape(offset, start=2))
        mask = op.Expand(op.Constant(value_float=1.0), op.Concat(*shape, axis=0))
    groups = (input.shape[1] // inside, offset.shape[1] // (2 * prod(kernel)))
    return node(op, input, weight, offset, bias, mask, stride, padding, dilation, *groups)


def node(
    op: Any,
    input: Any,
    weight: Any,
    offset: Any,
    bias: Any,
    mask: Any,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    offset_groups: int = 1,
) -> Any:
    """One `DeformConv`, none of whose inputs' shapes need be known but the weight's."""
    return op.DeformConv(
        input,
        weight,
        offset,
        bias,
        mask,
        kernel_shape=list(weight.shape[2:]),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=groups,
        offset_group=offset_groups,
    )


def standard(
    op: Any,
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Any,
) -> Any:
    """One `GridSample` of all taps, and a 1x1 convolution."""
    o, inside, *kernel = weight.shape
    columns = sampled_columns(op, input, offset, kernel, stride, padding, dilation)
    groups, taps = offset.shape[1] // (2 * prod(kernel)), prod(kernel)
    c = input.shape[1]
    high, wide = offset.shape[2:]
    if mask is not None:
        columns = op.Mul(columns, op.Reshape(mask, _ints(op, -1, groups, 1, taps, high, wide)))
    columns = op.Reshape(columns, _ints(op, -1, c * taps, high, wide))
    matrix = op.Reshape(weight, _ints(op, o, inside * taps, 1, 1))
    operands = (columns, matrix) if bias is None else (columns, matrix, bias)
    return op.Conv(*operands, group=c // inside)


def sampled_columns(
    op: Any,
    input: Any,
    offset: Any,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Any:
    """Every tap's sample, (n, offset groups, c / offset groups, taps, oh, ow), by one `GridSample`.

    Positions are clamped to one pixel outside, where everything is zero: casts of huge ones are undefined.
    """
    taps = prod(kernel)
    c, height, width = input.shape[1:]
    high, wide = offset.shape[2:]
    if not all(isinstance(size, int) for size in (height, width, high, wide)):
        raise FlowError("deformable convolution in standard form needs the frame's size: export with --size")
    groups = offset.shape[1] // (2 * taps)
    number = np.arange(taps)
    starts = (
        (number // kernel[1] * dilation[0] - padding[0])[:, None, None]
        + np.arange(high)[:, None] * stride[0],
        (number % kernel[1] * dilation[1] - padding[1])[:, None, None] + np.arange(wide) * stride[1],
    )
    moves = op.Split(op.Reshape(offset, _ints(op, -1, taps, 2, high, wide)), num_outputs=2, axis=2)
    axes = []
    for start, move, size in zip(starts, moves, (height, width), strict=True):
        place = op.Add(move, _floats(op, np.broadcast_to(start, (taps, high, wide))[None, :, None]))
        place = op.Clip(place, _floats(op, -1), _floats(op, size))
        # pixel p lies at (2 p + 1) / size - 1; with corners aligned, a side of one pixel would divide by zero
        axes.append(op.Add(op.Mul(place, _floats(op, 2 / size)), _floats(op, 1 / size - 1)))
    grid = op.Transpose(op.Concat(*reversed(axes), axis=2), perm=[0, 1, 3, 4, 2])
    grid = op.Reshape(grid, _ints(op, -1, taps * high, wide, 2))
    image = op.Reshape(input, _ints(op, -1, c // groups, height, width))
    sampled = op.GridSample(image, grid, align_corners=0, mode="bilinear", padding_mode="zeros")
    return op.Reshape(sampled, _ints(op, -1, groups, c // groups, taps, high, wide))


def _ints(op: Any, *values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _floats(op: Any, values: float | NDArray[Any]) -> Any:
    array = np.asarray(values, np.float32)
    if array.ndim == 0:
        return op.Constant(value_float=float(array))
    return op.Reshape(op.Constant(value_floats=array.ravel().tolist()), _ints(op, *array.shape))
