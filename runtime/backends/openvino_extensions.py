"""Operators that OpenVINO has and its ONNX frontend does not know."""

from __future__ import annotations

from typing import Any

from openvino import opset8
from openvino.frontend.onnx import ConversionExtension


def deform_conv(node: Any) -> list[Any]:
    """ONNX `DeformConv`-19 as `DeformableConvolution`-8.

    A sample less than one pixel outside blends with zero (`bilinear_interpolation_pad`), as ONNX has it;
    by default OpenVINO would take it for zero. Its operator has no bias: that is added. Bias and mask may be left out, both.
    """
    data, filters, offsets, *others = (node.get_input(i) for i in range(node.get_input_size()))
    bias, mask = others or (None, None)
    strides, dilations = node.get_attribute("strides", [1, 1]), node.get_attribute("dilations", [1, 1])
    pads = node.get_attribute("pads", [0, 0, 0, 0])
    made = opset8.deformable_convolution(
        data,
        offsets,
        filters,
        list(strides),
        list(pads[:2]),
        list(pads[2:]),
        list(dilations),
        mask,
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,
    )
    if bias is None:
        return [made.output(0)]
    channels_first = opset8.unsqueeze(bias, opset8.constant([0, 2, 3]))
    return [opset8.add(made, channels_first).output(0)]


def conv(node: Any) -> list[Any]:
    """ONNX `Conv`, its bias added as a constant of the output's rank.

    The frontend's own form derives that shape by eight operators a convolution, which are folded while
    the model is compiled: without them that takes up to a fifth less time.
    """
    data, filters = node.get_input(0), node.get_input(1)
    axes = filters.get_partial_shape().rank.get_length() - 2
    groups = node.get_attribute("group", 1)
    strides, dilations = (list(node.get_attribute(name, [1] * axes)) for name in ("strides", "dilations"))
    pads = list(node.get_attribute("pads", [0] * 2 * axes))
    options = (strides, pads[:axes], pads[axes:], dilations)
    if groups == 1:
        made = opset8.convolution(data, filters, *options)
    else:
        outputs, *rest = filters.get_shape()
        grouped = opset8.reshape(filters, opset8.constant([groups, outputs // groups, *rest]), False)
        made = opset8.group_convolution(data, grouped, *options)
    if node.get_input_size() < 3:
        return [made.output(0)]
    channels_first = opset8.reshape(node.get_input(2), opset8.constant([1, -1, *[1] * axes]), False)
    return [opset8.add(made, channels_first).output(0)]


EXTENSIONS = [ConversionExtension("DeformConv", deform_conv), ConversionExtension("Conv", conv)]
