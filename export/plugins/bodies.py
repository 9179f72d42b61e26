"""What TensorRT's plugin operators compute, as ONNX functions of standard operators.

No other engine library has the plugins, but ONNX Runtime puts a function's body in the place of its calls. So a
copy of a graph that brings the bodies along runs where bundles are made: to calibrate int8 and to judge it.
Bundles hold no bodies: TensorRT's parser takes them instead of the plugins before 10.7.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnx.inliner

from edgeflow.export.plugins.nodes import ADABD, COST_VOLUME, DEFORM_CONV, DOMAIN
from edgeflow.ir.bundle import Bundle

_HEAD = f'<domain: "{DOMAIN}", opset_import: ["": 19]>'

BODIES = {
    DEFORM_CONV: """
EdgeflowDeformConv2d
    <strides, pads, dilations, group, offset_group, plugin_version, plugin_namespace>
    (x, weight, offset, bias, mask) => (y)
{
    single = CastLike (x, offset)
    single_weight = CastLike (weight, offset)
    single_bias = CastLike (bias, offset)
    made = DeformConv <strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations,
                       group: int = @group, offset_group: int = @offset_group>
           (single, single_weight, offset, single_bias, mask)
    y = CastLike (made, x)
}""",
    ADABD: """
EdgeflowAdaBD <plugin_version, plugin_namespace> (current, reference, offset, mask, weight) => (y)
{
    single = CastLike (current, offset)
    single_reference = CastLike (reference, offset)
    single_weight = CastLike (weight, offset)
    zero = Constant <value_float: float = 0.0> ()
    one = Constant <value_float: float = 1.0> ()
    shape = Shape (offset)
    still = Expand (zero, shape)
    rest = Sub (one, mask)
    plain = DeformConv <pads: ints = [1, 1, 1, 1]> (single, single_weight, still, , mask)
    moved = DeformConv <pads: ints = [1, 1, 1, 1]> (single_reference, single_weight, offset, , rest)
    blended = Add (plain, moved)
    y = CastLike (blended, current)
}""",
    COST_VOLUME: """
EdgeflowCostVolume <radius, plugin_version, plugin_namespace> (first, second) => (y)
{
    none = Constant <value_ints: ints = [0]> ()
    rest = Constant <value_ints: ints = [-1]> ()
    one = Constant <value_ints: ints = [1]> ()
    last = Constant <value_ints: ints = [4]> ()
    from_zero = Constant <value_int: int = 0> ()
    by_one = Constant <value_int: int = 1> ()
    radius = Constant <value_int: int = @radius> ()
    twice = Add (radius, radius)
    span = Add (twice, by_one)
    span_dim = Unsqueeze (span, none)
    border = Unsqueeze (radius, none)
    channels = Shape <start: int = 1, end: int = 2> (first)
    height = Shape <start: int = 2, end: int = 3> (first)
    width = Shape <start: int = 3, end: int = 4> (first)

    single = Cast <to: int = 1> (first)
    single_second = Cast <to: int = 1> (second)
    borders = Concat <axis: int = 0> (none, none, border, border, none, none, border, border)
    padded = Pad (single_second, borders)
    shifts = Range (from_zero, span, by_one)
    shift_column = Unsqueeze (shifts, one)
    height_number = Squeeze (height, none)
    lines = Range (from_zero, height_number, by_one)
    shifted_lines = Add (shift_column, lines)
    shifted = Gather <axis: int = 2> (padded, shifted_lines)
    rows = Transpose <perm: ints = [0, 2, 3, 1, 4]> (shifted)
    pixels = Transpose <perm: ints = [0, 2, 3, 1]> (single)
    pixel_rows = Unsqueeze (pixels, one)
    products = MatMul (pixel_rows, rows)

    flat_shape = Concat <axis: int = 0> (none, none, none, rest)
    flat = Reshape (products, flat_shape)
    after = Concat <axis: int = 0> (none, none, none, none, none, none, none, width)
    longer = Pad (flat, after)
    skewed_shape = Concat <axis: int = 0> (none, none, none, width, rest)
    skewed = Reshape (longer, skewed_shape)
    matches = Slice (skewed, none, span_dim, last)
    ordered = Transpose <perm: ints = [0, 1, 4, 2, 3]> (matches)
    volume_shape = Concat <axis: int = 0> (none, rest, height, width)
    volume = Reshape (ordered, volume_shape)
    count = CastLike (channels, volume)
    mean = Div (volume, count)
    y = CastLike (mean, first)
}""",
}
"""By operator type, in ONNX's textual syntax; one for each of `plugin_forms.PLUGIN_OPS`.

They compute in single precision, whatever comes in and goes out. The cost volume is `edgeflow.ops.cost_volume.plain`.
"""


RUN_BY = {"onnxruntime": frozenset(BODIES), "openvino": frozenset((COST_VOLUME,))}
"""Operators whose bodies a library runs; OpenVINO refuses those of the deformable ones."""


def with_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that says itself what its plugin nodes compute, so that ONNX Runtime runs it."""
    held = {node.op_type for node in model.graph.node}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.functions.extend(onnx.parser.parse_function(_HEAD + BODIES[op]) for op in BODIES if op in held)
    return made


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with bodies in the place of its plugin nodes, for libraries that know no functions."""
    typed = onnx.shape_inference.infer_shapes(with_bodies(model))
    typed.graph.value_info.extend(  # the inliner knows the types of these alone
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in typed.graph.initializer
    )
    return onnx.inliner.inline_local_functions(typed, convert_version=True)


@contextmanager
def runnable(bundle: Bundle) -> Iterator[Bundle]:
    """A bundle that runs on processors: the same one, or a copy with bodies in the place of plugin nodes.

    The copy is gone afterwards.
    """
    manifest = bundle.manifest
    if not any(entry.plugins for entry in manifest.graphs.values()):
        yield bundle
        return
    with TemporaryDirectory(prefix="edgeflow-") as folder:
        copy = Path(shutil.copytree(bundle.path, Path(folder) / bundle.path.name))
        for entry in (entry for entry in manifest.graphs.values() if entry.plugins):
            path = copy / entry.file
            path.write_bytes(_inlined(onnx.load(path)).SerializeToString())
        graphs = {name: replace(entry, plugins=()) for name, entry in manifest.graphs.items()}
        yield Bundle(copy, replace(manifest, graphs=graphs))
