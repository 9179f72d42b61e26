"""Scales of eight-bit weights with which no processor's sums overflow.

Processors without VNNI (x86 before about 2018, and many since) multiply unsigned bytes by signed ones in pairs and
cut each pair's sum off at 16 bits: 255 * 127 twice becomes 32767. Where no two weights that meet in a pair sum up to
more than 128, or less than -128, sums are exact everywhere. A pair is of neighbouring input channels, as engine
libraries lay weights out; where their number is odd, neighbours depend on the kernel, and any two weights of an
output channel are taken to meet.

On CAIN-SD `small` this costs 0 to 2 dB of signal to error; weights of seven bits, which are never too large, 3 to 6.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType

LARGEST = 127
"""A pair's sum in steps of the scale; rounding may add one to it."""


def fitting_scales(graph: onnx.ModelProto, layers: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """How to quantise the weights of some layers, as ONNX Runtime's `TensorQuantOverrides`.

    Args:
        graph: in float.
        layers: names of convolutions and matrix products with constant weights.
    """
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    overrides = {}
    for node in graph.graph.node:
        if node.name in layers:
            weight = onnx.numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
            axis, filters = _filters(node, weight)
            place = {} if axis is None else {"axis": axis}
            overrides[node.input[1]] = [
                {
                    **place,
                    "quant_type": QuantType.QInt8,
                    "scale": np.array(reach / LARGEST, np.float32),
                    "zero_point": np.array(0, np.int8),
                }
                for reach in _reach(filters)
            ]
    return overrides


def _filters(node: onnx.NodeProto, weight: NDArray[np.float64]) -> tuple[int | None, NDArray[np.float64]]:
    """A weight as (outputs, taps, inputs), and the axis of its outputs; of stacked matrices all is one output."""
    if node.op_type == "Conv":
        outputs, inputs = weight.shape[:2]
        return 0, weight.reshape(outputs, inputs, -1).swapaxes(1, 2)
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    if weight.ndim == 2:
        return (0, weight[:, None]) if transposed else (1, weight.T[:, None])
    return None, np.atleast_2d(weight.T).reshape(1, -1, weight.shape[-2 if weight.ndim > 1 else 0])


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
