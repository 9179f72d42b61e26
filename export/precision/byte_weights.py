"""Weights of eight bits that every processor multiplies exactly, rounded such that their sums stay.

Processors without VNNI (x86 before about 2018, and many since) multiply unsigned bytes by signed ones in pairs and
cut each pair's sum off at 16 bits: 255 * 127 twice becomes 32767. Where no two weights that meet in a pair sum up to
more than 128, or less than -128, sums are exact everywhere. A pair is of neighbouring input channels, as engine
libraries lay weights out; where their number is odd, neighbours depend on the kernel, and any two weights of an
output channel are taken to meet.

What a layer reads is mostly alike from one input to the next (pixels, and what activation functions leave), so that the error of a
filter's sum weighs more than those of its weights: as many weights as it takes are rounded the other way, those that lie nearest to the middle.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType

LARGEST = 126
"""A pair's sum in steps of the scale; rounding each up, whichever lies nearer, adds less than two."""


def fit_weights(graph: onnx.ModelProto, layers: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Move the weights of some layers to steps of eight bits, in place.

    Args:
        graph: in float; other layers that read the same weights read the moved ones, too.
        layers: names of convolutions and matrix products with constant weights.

    Returns:
        The scales, as ONNX Runtime's `TensorQuantOverrides`.
    """
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    overrides: dict[str, list[dict[str, Any]]] = {}
    for node in graph.graph.node:
        name = node.input[1] if node.name in layers else ""
        if name and name not in overrides:
            weight = onnx.numpy_helper.to_array(weights[name])
            axis, filters = _filters(node, weight.astype(np.float64))
            scales = (_reach(filters) / LARGEST).astype(np.float32)
            steps = _rounded(filters / scales.astype(np.float64)[:, None, None])
            moved = _unfiltered(node, steps * scales[:, None, None], weight.shape)
            weights[name].CopyFrom(onnx.numpy_helper.from_array(moved.astype(weight.dtype), name))
            overrides[name] = [_override(axis, scale) for scale in scales]
    return overrides


def _override(axis: int | None, scale: np.float32) -> dict[str, Any]:
    place = {} if axis is None else {"axis": axis}
    scale_of, zero = np.array(scale, np.float32), np.array(0, np.int8)
    return {**place, "quant_type": QuantType.QInt8, "scale": scale_of, "zero_point": zero}


def _rounded(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole steps: each weight rounded up or down, such that the sum of each filter is off by half a step at most."""
    flat = filters.reshape(len(filters), -1)
    steps = np.round(flat)
    left = flat - steps
    for row, missing in enumerate(np.round(left.sum(1)).astype(int)):
        direction = np.sign(missing)
        nearest = np.argsort(-direction * left[row], kind="stable")[: abs(missing)]
        steps[row, nearest] += direction
    return steps.reshape(filters.shape)


def _filters(node: onnx.NodeProto, weight: NDArray[np.float64]) -> tuple[int | None, NDArray[np.float64]]:
    """A weight as (outputs, taps, inputs), and the axis of its outputs; of stacked matrices all is one output."""
    if node.op_type == "Conv":
        outputs, inputs = weight.shape[:2]
        return 0, weight.reshape(outputs, inputs, -1).swapaxes(1, 2)
    turned = _turned(node, weight.ndim)
    matrix = weight.swapaxes(-1, -2) if turned else weight
    if weight.ndim == 2:
        return int(turned), matrix[:, None]
    return None, matrix.reshape(1, -1, matrix.shape[-1])


def _unfiltered(
    node: onnx.NodeProto, filters: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """A weight of that shape from its (outputs, taps, inputs): what `_filters` took apart."""
    if node.op_type == "Conv":
        return filters.swapaxes(1, 2).reshape(shape)
    if _turned(node, len(shape)):
        return filters.reshape(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)
    return filters.reshape(shape)


def _turned(node: onnx.NodeProto, rank: int) -> bool:
    """Whether a matrix is stored (inputs, outputs)."""
    stored_as_used = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return rank > 1 and not stored_as_used


def _reach(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the steps of each output's scale must reach: its largest weight, or the largest sum of a pair."""
    alone = np.abs(filters).reshape(len(filters), -1).max(1)
    sums = [_largest_pair(np.maximum(sign * filters, 0.0)) for sign in (1, -1)]
    reach: NDArray[np.float64] = np.maximum.reduce([alone, *sums])
    reach[reach == 0] = LARGEST  # a filter of zeros: any scale will do
    return reach


def _largest_pair(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per output, the largest sum of two weights that may meet; (outputs, taps, inputs), none negative."""
    outputs, _, inputs = filters.shape
    if inputs % 2:
        return np.asarray(np.sort(filters.reshape(outputs, -1), 1)[:, -2:].sum(1))
    pairs = filters[..., 0::2] + filters[..., 1::2]
    return np.asarray(pairs.reshape(outputs, -1).max(1))
