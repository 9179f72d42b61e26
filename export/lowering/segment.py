"""Lowers one segment variant to an ONNX graph, with image conversion inside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import onnx
import torch
from torch import nn
from torch.onnx._internal.exporter import _flags
from torch.onnx._internal.exporter._capture_strategies import TorchExportNonStrictStrategy

from edgeflow.export.drafts import Link
from edgeflow.export.forms import with_forms
from edgeflow.export.lowering.exact_constants import exact_constants
from edgeflow.export.lowering.fingerprint import fingerprint, weight, weight_names
from edgeflow.export.lowering.free_ramps import FreeRamps
from edgeflow.export.lowering.free_sizes import check_free
from edgeflow.export.lowering.graph_cache import GraphCache
from edgeflow.export.lowering.link import EXACT
from edgeflow.export.lowering.onnx_forms import translations
from edgeflow.export.lowering.skeleton import Table, filled, skeleton
from edgeflow.export.lowering.torchlib_once import torchlib_once
from edgeflow.export.passes import run_passes
from edgeflow.flow.flow import leaves
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.quiet import quiet
from edgeflow.flow.segments import find_segment
from edgeflow.flow.unchanged import unchanged
from edgeflow.ir.errors import EdgeflowError, ExportError
from edgeflow.ir.interface import held_shape
from edgeflow.ir.program import FRAME, Program
from edgeflow.ir.route import Choice, describe

OPSET = 19
"""DeformConv arrived in 19; from 20 on TensorRT misreads GridSample's `linear` as `nearest`."""


class SegmentModule(nn.Module):
    """A segment with its axis values fixed and images converted at its edges.

    Image inputs come as (n, h, w, 3) uint8 and reach the segment as (n, 3, h, w) float in
    [0, 1], clips with their frames in second place; an image output leaves as both.
    """

    def __init__(
        self, segment: Any, keywords: dict[str, Choice], decode: tuple[bool, ...], encode: tuple[bool, ...]
    ) -> None:
        super().__init__()
        self.owner = segment if isinstance(segment, nn.Module) else segment.__self__
        self._method = "" if isinstance(segment, nn.Module) else segment.__func__.__name__
        self._keywords, self._decode, self._encode = keywords, decode, encode

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Decode, call, encode."""
        tensors = [decoded(x) if decode else x for x, decode in zip(inputs, self._decode, strict=True)]
        segment = getattr(self.owner, self._method) if self._method else self.owner
        made = leaves(segment(*tensors, **self._keywords))
        encoded = [
            (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            for x, encode in zip(made, self._encode, strict=True)
            if encode
        ]
        exact = [x for x, encode in zip(made, self._encode, strict=True) if encode]
        plain = [x for x, encode in zip(made, self._encode, strict=True) if not encode]
        return (*plain, *encoded, *exact)


def decoded(pictures: torch.Tensor) -> torch.Tensor:
    """Bytes (n, h, w, 3), or a clip's (n, t, h, w, 3), as float in [0, 1] with channels before height."""
    order = (0, 3, 1, 2) if pictures.ndim == 4 else (0, 1, 4, 2, 3)
    planes = pictures.permute(order).to(torch.float32, memory_format=torch.contiguous_format)
    return planes / 255


def lower(
    model: RoutedModule,
    program: Program,
    link: Link,
    rewrites: Sequence[str] = (),
    operators: str = "native",
    cache: GraphCache | None = None,
) -> onnx.ModelProto:
    """The ONNX graph of one segment variant, after the named rewrite passes.

    Inputs are `in.0`, ...; outputs `out.0`, ... and, for images, `out.0.exact` before rounding.
    Values per tile have a symbolic batch; free dimensions of the frame stay symbolic. `operators` is the
    form of operators that have plugins, one of `edgeflow.targets.OPERATOR_FORMS`; `cache` holds graphs that were
    exported before, without their weights.

    Raises:
        ExportError: the segment cannot be exported; names segment, variant and operator.
    """
    call = link.call
    values = dict(link.variant)
    segment = find_segment(model, call.segment)
    keywords = {**{k: values[v] for k, v in call.axes}, **dict(call.constants)}
    ins = [program.value(name) for name in call.inputs]
    outs = [program.value(name) for name in call.outputs]
    module = SegmentModule(segment, keywords, tuple(v.image for v in ins), tuple(v.image for v in outs))
    batch = 1 if call.regions == FRAME else 2
    tensors, dynamic = [], []
    for value in ins:
        tensor, dims = _example(value.shape(values), value.image, batch, program.frame)
        tensors.append(tensor)
        dynamic.append(dims)
    order = [i for i, v in enumerate(outs) if not v.image] + [i for i, v in enumerate(outs) if v.image]
    names = [f"out.{i}" for i in order] + [f"out.{i}{EXACT}" for i, v in enumerate(outs) if v.image]
    where = f"segment {call.segment}" + (f" ({describe(link.variant)})" if link.variant else "")
    portrait = program.frame == "portrait"
    exported = to_onnx(module, tensors, dynamic, names, where, operators, cache, portrait)
    try:
        lowered = _clean(run_passes(exported, rewrites, where))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"{where}: its graph is not sound: {_reason(error)}") from error
    _refuse_misread(lowered, where)
    _refuse_halves(lowered, where)
    return lowered


def _refuse_misread(model: onnx.ModelProto, where: str) -> None:
    """No `GridSample` may leave at opset 20 or later, whose `linear` TensorRT reads as `nearest`.

    Raises:
        ExportError: one would.
    """
    opset = max(o.version for o in model.opset_import if o.domain == "")
    if opset >= 20 and any(node.op_type == "GridSample" for node in model.graph.node):
        raise ExportError(
            f"{where}: GridSample at opset {opset}, which TensorRT misreads; lower it at {OPSET}"
        )


def _refuse_halves(model: onnx.ModelProto, where: str) -> None:
    """Values may be rounded to 16 bits, but nothing may compute in them: libraries have few such operators, and a target its own precision.

    Raises:
        ExportError: an operator does.
    """
    halves = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        read = next((rounded[name] for name in node.input if name in rounded), None)
        if node.op_type == "Cast":
            kind = onnx.helper.get_node_attr_value(node, "to")
            rounded |= {node.output[0]: halves[kind]} if kind in halves else {}
        elif read:
            raise ExportError(
                f"{where}: {node.op_type} computes in {read} (autocast?): leave that out of the model; "
                "the precision of its engines is the target's (--precision)"
            )


def _example(
    shape: tuple[int | str, ...], image: bool, batch: int, frame: str
) -> tuple[torch.Tensor, dict[int, Any]]:
    """An example tensor and its symbolic dimensions."""
    dims: list[int | str] = [batch, *shape]
    if image:
        dims = [batch, *held_shape(shape)]
    sizes = {"height": 160, "width": 96} if frame == "portrait" else {"height": 96, "width": 160}
    dynamic: dict[int, Any] = {
        i: torch.export.Dim(d, min=2, max=16384) for i, d in enumerate(dims) if isinstance(d, str)
    }
    if batch > 1:
        dynamic[0] = torch.export.Dim("batch", min=1, max=4096)
    concrete = [sizes[d] if isinstance(d, str) else d for d in dims]
    return (torch.zeros(concrete, dtype=torch.uint8) if image else torch.zeros(concrete)), dynamic


def to_onnx(
    module: nn.Module,
    tensors: Sequence[torch.Tensor],
    dynamic: Sequence[dict[int, Any]],
    names: Sequence[str],
    where: str,
    operators: str = "native",
    cache: GraphCache | None = None,
    portrait: bool = False,
) -> onnx.ModelProto:
    """A module as torch.onnx exports it, with edgeflow's operators in the form asked for.

    Args:
        module: tensors in, tensors out.
        tensors: example inputs; in the graph they are `in.0`, ...
        dynamic: per input its symbolic dimensions.
        names: of the outputs.
        where: what is exported, for messages.
        operators: form of operators that have plugins.
        cache: of graphs that were exported before with other weights.
        portrait: frames of free size are higher than wide; else they are not.

    Raises:
        ExportError: an operator has no ONNX form, or another opset came out.
    """
    table = translations(operators)
    inputs = [f"in.{i}" for i in range(len(tensors))]
    axes = [{i: dim.__name__ for i, dim in dims.items()} for dims in dynamic]
    cache = GraphCache() if cache is None else cache
    try:
        with quiet(), torchlib_once(), exact_constants(), torch.no_grad(), unchanged(module):
            captured = _captured(module, tensors, dynamic)
            if captured is None:
                made = _exported(module, tensors, dynamic, inputs, names, table)
                check_free(made.exported_program, dynamic, portrait, where)
                model = made.model_proto
            else:
                again = partial(_captured_at, module, tensors, dynamic)
                check_free(captured, dynamic, portrait, where, again)
                _refuse_empty(captured, where)
                formed = with_forms(captured)
                if formed is not captured:
                    check_free(formed, dynamic, portrait, where, lambda size: with_forms(again(size)))
                settings = f"{axes} {names} {operators} {OPSET}"
                weights = {name: weight(formed, name) for name in weight_names(formed)}
                key = fingerprint(formed, settings)
                bare = cache.get(key) if key is not None else None
                if bare is None:
                    bare = skeleton(formed, inputs, axes, names, table, OPSET)
                    if key is not None:
                        cache.put(key, bare)
                model = filled(bare, len(inputs), weights)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"{where}: cannot be exported: {_reason(error)}") from error
    found = {o.domain: o.version for o in model.opset_import}
    if found.get("") != OPSET:
        raise ExportError(
            f"{where}: came out at opset {found.get('')} instead of {OPSET}; update torch and onnxscript"
        )
    return model


@cache
def load_exporter() -> None:
    """Let the exporter load and register what it does at its first use, so that forked processes need not, each anew."""
    module = SegmentModule(nn.Conv2d(1, 1, 1), {}, (False,), (False,))
    to_onnx(module, [torch.zeros(1, 1, 2, 2)], [{}], ["out.0"], "a first segment")


def _captured(
    module: nn.Module, tensors: Sequence[torch.Tensor], dynamic: Sequence[dict[int, Any]]
) -> torch.export.ExportedProgram | None:
    """A module as torch.onnx captures it first; None if that fails, and it has to try other ways."""
    capture = _flags.set_onnx_exporting_flag(TorchExportNonStrictStrategy(verbose=False))
    with FreeRamps():
        return capture(module, tuple(tensors), {}, (tuple(dynamic),)).exported_program


def _captured_at(
    module: nn.Module,
    tensors: Sequence[torch.Tensor],
    dynamic: Sequence[dict[int, Any]],
    size: tuple[int, int],
) -> torch.export.ExportedProgram:
    """A module as it is captured with a frame of this (height, width)."""
    sides = dict(zip(("height", "width"), size, strict=True))
    shapes = [
        [sides.get(dims[i].__name__, n) if i in dims else n for i, n in enumerate(tensor.shape)]
        for tensor, dims in zip(tensors, dynamic, strict=True)
    ]
    examples = [tensor.new_zeros(shape) for tensor, shape in zip(tensors, shapes, strict=True)]
    captured = _captured(module, examples, dynamic)
    if captured is None:
        raise ExportError("it cannot be captured at another size")
    return captured


def _refuse_empty(captured: torch.export.ExportedProgram, where: str) -> None:
    """Libraries disagree on values without elements.

    Raises:
        ExportError: an output has none.
    """
    for result in captured.graph.output_node().args[0]:
        value = result.meta.get("val") if isinstance(result, torch.fx.Node) else None
        if isinstance(value, torch.Tensor) and any(isinstance(n, int) and n == 0 for n in value.shape):
            raise ExportError(
                f"{where}: makes a value of shape {tuple(value.shape)}, without elements: leave it out"
            )


def _exported(
    module: nn.Module,
    tensors: Sequence[torch.Tensor],
    dynamic: Sequence[dict[int, Any]],
    inputs: Sequence[str],
    names: Sequence[str],
    table: Table,
) -> torch.onnx.ONNXProgram:
    """A module as torch.onnx exports it in one go."""
    program = torch.onnx.export(
        module,
        tuple(tensors),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=(tuple(dynamic),),
        input_names=list(inputs),
        output_names=list(names),
        custom_translation_table=table,
        verbose=False,
        optimize=True,
    )
    assert program is not None
    return program


def _reason(error: BaseException) -> str:
    """The innermost cause in one line; names the operator where the exporter does."""
    seen: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        seen.append(str(cause))
        if isinstance(cause, EdgeflowError):
            return str(cause)  # which says what to do
        cause = cause.__cause__ or cause.__context__
    text = "\n".join(seen)
    if match := re.search(r"OpOverload\(op='([^']+)'", text):
        return f"the operator {match[1]} has no ONNX form; rewrite it in standard operators"
    if "Unsupported attribute type" in text and "SymbolicTensor" in text:
        return "a setting of an operator follows the number of tiles or a size (such as groups=x.shape[0]): make it a number"
    lines = [line.strip() for line in seen[-1].splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    if match := re.search(r"call_function\[target=torch\.ops\.([\w.]+)\]", text):
        return f"the operator {match[1]} has no ONNX form here ({reason}); rewrite it in standard operators"
    return reason


def _clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what differs from run to run or only serves debugging; raw data in every initialiser."""
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for info in (*graph.input, *graph.output):
        del info.metadata_props[:]
        info.doc_string = ""
    for tensor in graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    return model
