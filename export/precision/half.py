"""Types a stage's graph in half precision, float16 or bfloat16, with single precision where half would show.

A typed graph is the only form that every engine library reads alike: TensorRT 11 has no precision flags, and
what it builds is what the graph says. Single precision is kept for

- sampling coordinates: float16 spaces numbers by 0.5 from 512 on, bfloat16 by 2 from 256 on, so a warp of an HD
  frame would lose its fractions;
- statistics, reductions and powers, which add up or span more than half holds;
- comparisons, whose two sides half may round to one number: a bound with a slack of 0.001 is none from 2 on;
- what leads to rounding an image to 8 bits, back to the last convolution;
- graphs whose outputs decide routes;
- at bfloat16, what is made of an image before the first convolution, since the 8 bits of a pixel fill its whole
  fraction, and a mean that is taken off leaves noise;
- at bfloat16, graphs that sample a grid: ONNX has no bfloat16 convolution before opset 22, and TensorRT reads
  `GridSample` as `nearest` from opset 20 on.
"""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx
import onnx.version_converter
import onnx_graphsurgeon as gs

from edgeflow.export.heavy import inferred
from edgeflow.export.plugins.nodes import PLUGINS
from edgeflow.ir.plan import Plan
from edgeflow.ir.program import Keep, Route, Sample, Stitch, Tile

SINGLE_OPS = frozenset(
    [
        "GridSample",
        "DeformConv",
        "Equal",
        "Exp",
        "GlobalAveragePool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "ConstantOfShape",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMean",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Round",
        "Softmax",
        "Sqrt",
        "CumSum",
    ]
)
"""Computed in single precision wherever they stand."""
HEAVY_OPS = frozenset(("Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", *PLUGINS))
"""Where a chain that must be exact begins: what these make was rounded to half, and accumulated in single."""
EXACT_INPUTS: Mapping[str, tuple[int, ...]] = {
    "GridSample": (1,),
    "DeformConv": (2,),
    "Round": (0,),
    **{node: plugin.exact_inputs for node, plugin in PLUGINS.items()},
}
"""Inputs whose makers, back to a heavy operator, compute in single precision."""
SINGLE_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Resize": (1, 2),
    **{node: plugin.single_inputs for node, plugin in PLUGINS.items()},
}
"""Inputs that stay single precision though their operator computes in half."""

SINGLE_AT_BF16 = frozenset(("ConvTranspose", "Mish", "NonMaxSuppression", "RoiAlign", *PLUGINS))
"""Operators that TensorRT takes at float16 and not at bfloat16 (its parser's operator list; transposed convolutions by
`targets/tensorrt_rules/conv_transpose.toml`), and our plugins."""
BF16_OPSET = 22
"""The first with bfloat16 convolutions (ONNX's operator list, `Conv`)."""
SAMPLES_GRID = (
    f"samples a grid, which TensorRT reads rightly up to opset 19; bfloat16 needs opset {BF16_OPSET}"
)
ALL_SINGLE = "has no heavy operator that computes in bfloat16: plugins compute in float32"

SINGLE = np.dtype(np.float32)
HALVES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
"""Half precision by its name among the precisions."""


def half_values(plan: Plan) -> frozenset[str]:
    """Values that travel between engines in half precision.

    Those are all that stages make, but for images, results, scores, and what takes the place of one
    of them where a stage does not run.
    """
    made = {name for stage in plan.stages for name, _ in stage.otherwise}
    for step in plan.steps:  # what is cut of them, or put together, is as they are
        if isinstance(step, Tile) and made & set(step.inputs):
            made |= set(step.outputs)
        elif isinstance(step, Stitch) and not step.blend and step.input in made:
            made.add(step.output)
    states = {state.name for state in plan.states}
    single = {value.name for value in plan.values if value.image or value.name not in made | states}
    single.update(plan.results)
    pairs = [pair for stage in plan.stages for pair in stage.otherwise if pair[1] is not None]
    pairs += [pair for stage in plan.stages for graph in stage.graphs for pair in graph.kept]
    for step in plan.steps:
        if isinstance(step, Route):
            single.update(d.scores for d in step.decisions if d.scores is not None)
        elif isinstance(step, Keep):
            pairs.append((step.state, step.input))
        elif isinstance(step, Stitch):
            pairs.append((step.output, step.input))
        elif isinstance(step, Tile):
            pairs += zip(step.outputs, step.inputs, strict=True)
        elif isinstance(step, Sample):
            single.update((step.input, step.output))
    while grown := {name for pair in pairs if single & set(pair) for name in pair if name} - single:
        single |= grown
    return frozenset((made | states) - single)


def single_note(model: onnx.ModelProto, precision: str) -> str:
    """Why a whole graph stays in single precision at one of `HALVES`; empty if it need not."""
    if precision != "bf16":
        return ""
    if _samples_grid(model):
        return SAMPLES_GRID
    heavy = {node.op_type for node in model.graph.node} & HEAVY_OPS
    return ALL_SINGLE if heavy and heavy <= SINGLE_OPS | SINGLE_AT_BF16 else ""


def to_half(
    model: onnx.ModelProto, halves: frozenset[str], precision: str = "fp16", *, single: bool = False
) -> onnx.ModelProto:
    """The same graph with typed casts.

    Args:
        model: a stage's graph in float32.
        halves: inputs and outputs that are in half precision from now on; the others keep their types.
        precision: one of `HALVES`; what computes in bfloat16 is raised to opset 22.
        single: compute in single precision all the same, for graphs that decide or have a `single_note`.
    """
    half = HALVES[precision]
    if precision == "bf16" and not single:
        model = _raised(model)
    graph = gs.import_onnx(inferred(model)).toposort()
    _name_constants(graph)
    exact = {id(node) for node in graph.nodes if single or node.op in SINGLE_OPS} | _exact_chains(graph)
    if precision == "bf16":
        exact |= {id(node) for node in graph.nodes if node.op in SINGLE_AT_BF16}
        exact |= _of_images(graph) | _to_images(graph)
    typed = _Typed(graph)
    for tensor in graph.inputs:
        if tensor.name in halves:
            tensor.dtype = half
    for node in list(graph.nodes):
        wanted = SINGLE if id(node) in exact else half
        for i, tensor in enumerate(node.inputs):
            own = SINGLE if i in SINGLE_INPUTS.get(node.op, ()) else wanted
            node.inputs[i] = typed.at(tensor, own)
        for tensor in node.outputs:
            if _is_float(tensor):
                tensor.dtype = wanted
                if node.op == "Cast":
                    node.attrs["to"] = onnx.helper.np_dtype_to_tensor_dtype(wanted)
    for i, tensor in enumerate(graph.outputs):
        if _is_float(tensor):
            graph.outputs[i] = typed.output(tensor, half if tensor.name in halves else SINGLE)
    done: onnx.ModelProto = gs.export_onnx(graph.cleanup().toposort())
    done.ir_version = model.ir_version
    return done


def _samples_grid(model: onnx.ModelProto) -> bool:
    return any(node.op_type == "GridSample" for node in model.graph.node)


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph at the opset that has bfloat16 convolutions."""
    assert not _samples_grid(model), SAMPLES_GRID
    return onnx.version_converter.convert_version(model, BF16_OPSET)


def _name_constants(graph: gs.Graph) -> None:
    """Turn `Constant` nodes into tensors, whose type can be changed."""
    for node in [node for node in graph.nodes if node.op == "Constant"]:
        (made,) = node.outputs
        constant = gs.Constant(made.name, np.asarray(node.attrs["value"].values))
        node.outputs.clear()
        for reader in list(made.outputs):
            reader.inputs = [constant if tensor is made else tensor for tensor in reader.inputs]


def _exact_chains(graph: gs.Graph) -> set[int]:
    """Nodes between a heavy operator and an input that must be exact, by identity."""
    found: set[int] = set()
    ahead = [
        node.inputs[i] for node in graph.nodes for i in EXACT_INPUTS.get(node.op, ()) if i < len(node.inputs)
    ]
    while ahead:
        for node in ahead.pop().inputs:
            if node.op not in HEAVY_OPS and id(node) not in found:
                found.add(id(node))
                ahead.extend(node.inputs)
    return found


def _of_images(graph: gs.Graph) -> set[int]:
    """Nodes between an image that comes in and heavy operators, by identity; filters of its planes among them."""
    found: set[int] = set()
    ahead = [tensor for tensor in graph.inputs if tensor.dtype == np.uint8]
    while ahead:
        for node in ahead.pop().outputs:
            if id(node) not in found and (node.op not in HEAVY_OPS or _filters_planes(node)):
                found.add(id(node))
                ahead.extend(node.outputs)
    return found


def _to_images(graph: gs.Graph) -> set[int]:
    """Casts to uint8, and nodes between heavy operators and one, by identity: TensorRT has no such cast from bfloat16."""
    casts = [node for node in graph.nodes if node.op == "Cast" and node.outputs[0].dtype == np.uint8]
    found = {id(node) for node in casts}
    ahead = [node.inputs[0] for node in casts]
    while ahead:
        for node in ahead.pop().inputs:
            if id(node) not in found and node.op not in HEAVY_OPS:
                found.add(id(node))
                ahead.extend(node.inputs)
    return found


def _filters_planes(node: gs.Node) -> bool:
    """Whether it filters planes one by one, as a resize does."""
    return bool(node.op == "Conv" and node.inputs[1].shape[1] == 1 and node.attrs.get("group", 1) == 1)


def _is_float(tensor: gs.Tensor) -> bool:
    return tensor.dtype is not None and np.dtype(tensor.dtype) in (SINGLE, *HALVES.values())


class _Typed:
    """Casts of a graph's tensors, one per tensor and type."""

    def __init__(self, graph: gs.Graph) -> None:
        self._graph = graph
        self._known: dict[tuple[int, np.dtype[np.generic]], gs.Tensor] = {}

    def at(self, tensor: gs.Tensor, wanted: np.dtype[np.generic]) -> gs.Tensor:
        """The tensor in the wanted type; one that holds no floats as it is."""
        if not _is_float(tensor) or np.dtype(tensor.dtype) == wanted:
            return tensor
        key = (id(tensor), wanted)
        if key not in self._known:
            name = f"{tensor.name}/{wanted.name}"
            if isinstance(tensor, gs.Constant):
                self._known[key] = gs.Constant(name, tensor.values.astype(wanted))
            else:
                made = gs.Variable(name, wanted, tensor.shape)
                self._cast(tensor, made, wanted)
                self._known[key] = made
        return self._known[key]

    def output(self, tensor: gs.Tensor, wanted: np.dtype[np.generic]) -> gs.Tensor:
        """An output of the graph under its own name, in the wanted type."""
        if np.dtype(tensor.dtype) == wanted:
            return tensor
        made = gs.Variable(tensor.name, wanted, tensor.shape)
        tensor.name += f"/{np.dtype(tensor.dtype).name}"
        self._cast(tensor, made, wanted)
        return made

    def _cast(self, tensor: gs.Tensor, made: gs.Tensor, wanted: np.dtype[np.generic]) -> None:
        to = onnx.helper.np_dtype_to_tensor_dtype(wanted)
        self._graph.nodes.append(gs.Node("Cast", f"cast/{made.name}", {"to": to}, [tensor], [made]))
