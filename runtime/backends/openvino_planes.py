"""Outputs that OpenVINO's CPU plugin is slow to write: planes whose lines all fall into the same sets of the first-level cache.

Convolutions make pixels with their channels side by side, and what leaves a model lies plane by plane. The plugin's step between the two
(`reorder_f32`, up to 64 channels) writes a value of every plane in turn. Where a plane is a multiple of 4096 bytes, which tiles and clips mostly
are, these writes drive one another out of the cache: 64 planes of 8x64x64 take 24 ms, and the same as a plain transposition 3.
"""

from __future__ import annotations

from math import prod

import openvino as ov
from openvino import opset8

PAGE = 4096
"""Bytes after which addresses fall into the same set of the first-level cache, on all processors of interest."""
CHANNELS = range(16, 65)
"""With which that step is slow: more take another one, fewer fit the cache's ways."""
_MAKERS = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData"})
_PER_VALUE = frozenset(
    {
        "Add",
        "Clamp",
        "Elu",
        "Gelu",
        "HSwish",
        "Multiply",
        "PRelu",
        "Relu",
        "Sigmoid",
        "Subtract",
        "Swish",
        "Tanh",
    }
)


def turn_planes(model: ov.Model) -> int:
    """Let a transposition write such outputs; returns how many there were.

    Args:
        model: its frames' sizes are known, its batch need not be; changed in place.
    """
    slow = [result for result in model.get_results() if _slow(result.input_value(0))]
    for result in slow:
        made = result.input_value(0)
        result.input(0).replace_source_output(_turned(made))
    model.validate_nodes_and_infer_types()
    return len(slow)


def _slow(made: ov.Output) -> bool:
    shape = made.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) not in (4, 5) or made.get_element_type() != ov.Type.f32:
        return False
    if any(side.is_dynamic for side in list(shape)[1:]):
        return False
    channels, *sides = (side.get_length() for side in list(shape)[1:])
    return channels in CHANNELS and prod(sides) * 4 % PAGE == 0 and _made_by_convolution(made.get_node())


def _made_by_convolution(node: ov.Node) -> bool:
    """Whether a convolution made it, but for what the plugin fuses into that."""
    while node.get_type_name() in _PER_VALUE:
        node = node.input_value(0).get_node()
    return node.get_type_name() in _MAKERS


def _turned(made: ov.Output) -> ov.Output:
    """The same values: pixels first, which is how they lie, and then planes by a transposition of two sides."""
    channels, *sides = (side.get_length() for side in list(made.get_partial_shape())[1:])
    last = opset8.transpose(made, [0, *range(2, len(sides) + 2), 1])
    flat = opset8.reshape(last, [0, prod(sides), channels], special_zero=True)
    planes = opset8.transpose(flat, [0, 2, 1])
    return opset8.reshape(planes, [0, channels, *sides], special_zero=True).output(0)
