"""What each layer of an engine loses by a lower precision: alone, and with all layers before it.

Two graphs are run, in float arithmetic, so that what is found holds for any processor: the engine as it is rounded
(`rounded`), and the exact one with a second, rounded copy of every layer that reads the exact tensors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx.helper import make_node

from edgeflow.export.plugins.bodies import with_bodies
from edgeflow.export.precision.calibrate import Array
from edgeflow.export.precision.qdq import guest_session, layers_of
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.golden import sampled
from edgeflow.ir.bundle.layer_errors import LayerError
from edgeflow.ir.sqnr import sqnr_db

ROWS = 2
"""Regions that layers are compared on."""

AT_A_TIME = 16
"""Tensors that are held at a time; for more, a graph is run again."""

ALONE = "alone/"
RENAMED = "_QuantizeLinear_Input"
"""ONNX Runtime's quantiser calls a tensor so that has the name of an output, before it is rounded."""


def errors_of(
    exact: onnx.ModelProto,
    rounded: onnx.ModelProto,
    precision: str,
    inputs: Sequence[str],
    rows: Sequence[Sequence[Array]],
) -> tuple[LayerError, ...]:
    """The errors of every layer, in order.

    Args:
        exact: an engine's graph at fp32.
        rounded: the same nodes by name, and between them those that round what some layers read.
        precision: that it is rounded to.
        inputs: names of the engine's inputs.
        rows: what they get.
    """
    layers = layers_of(exact)
    made = {node.name: node.output[0] for node in rounded.graph.node}
    wanted = {node.name: node.output[0] for node in exact.graph.node}
    below = [layer for layer in layers if _reads_rounded(exact, rounded, layer)]
    side = _beside(exact, rounded, below)
    exact_runs = _run(
        side, [*(wanted[layer] for layer in layers), *(ALONE + layer for layer in below)], inputs, rows
    )
    rounded_runs = _run(rounded, [made[layer] for layer in layers], inputs, rows)

    def of(layer: str) -> LayerError:
        true = [run[wanted[layer]] for run in exact_runs]
        accumulated = sqnr_db(zip((run[made[layer]] for run in rounded_runs), true, strict=True))
        if layer not in below:
            return LayerError(layer, "fp32", None, accumulated)
        alone = sqnr_db(zip((run[ALONE + layer] for run in exact_runs), true, strict=True))
        return LayerError(layer, precision, alone, accumulated)

    return tuple(map(of, layers))


def bf16_errors(bundle: Bundle) -> dict[str, tuple[LayerError, ...]]:
    """What the layers of a bundle's fp32 graphs lose that are to be computed in bfloat16, on their golden inputs."""
    found = {}
    for graph in (g for plan in bundle.manifest.plans.values() for s in plan.stages for g in s.graphs):
        entry = bundle.manifest.graphs[graph.graph]
        if entry.precision == "bf16" and graph.graph not in found:
            exact = onnx.load(bundle.path / entry.file)
            with np.load(bundle.path / graph.golden) as golden:
                row = [golden[f"in.{port.value}"].astype(port.dtype) for port in graph.inputs]
            names = [port.tensor for port in graph.inputs]
            found[graph.graph] = errors_of(exact, to_bf16(exact), "bf16", names, [row])
    return found


def to_bf16(exact: onnx.ModelProto) -> onnx.ModelProto:
    """A graph that rounds to bfloat16 what its layers read."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(exact)
    layers = set(layers_of(exact))
    nodes = []
    for node in rounded.graph.node:
        if node.name in layers:
            for i, name in enumerate(node.input[:2]):
                low, again = f"{node.name}/{i}/bf16", f"{node.name}/{i}/rounded"
                nodes.append(make_node("Cast", [name], [low], low, to=onnx.TensorProto.BFLOAT16))
                nodes.append(make_node("Cast", [low], [again], again, to=onnx.TensorProto.FLOAT))
                node.input[i] = again
        nodes.append(node)
    ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del rounded.graph.node[:]
    rounded.graph.node.extend(ordered)
    return rounded


def _reads_rounded(exact: onnx.ModelProto, rounded: onnx.ModelProto, layer: str) -> bool:
    """Whether a layer reads a rounded weight: in float ones nothing is."""
    weights = [next(n for n in graph.graph.node if n.name == layer).input[1] for graph in (exact, rounded)]
    return len(set(weights)) > 1


def _beside(exact: onnx.ModelProto, rounded: onnx.ModelProto, layers: Collection[str]) -> onnx.ModelProto:
    """The exact graph with rounded copies of layers, which read exact tensors; they make `ALONE` + their name."""
    known = {node.name for node in exact.graph.node}
    rounding = [node for node in rounded.graph.node if node.name not in known]
    copied = {name for node in rounding for name in node.output}
    constants = {tensor.name for tensor in exact.graph.initializer}
    added = [tensor for tensor in rounded.graph.initializer if tensor.name not in constants]
    copied |= {tensor.name for tensor in added}

    def read(name: str) -> str:
        return ALONE + name if name in copied else name.removesuffix(RENAMED)

    side = onnx.ModelProto()
    side.CopyFrom(exact)
    for node in rounded.graph.node:
        if node.name in layers or node.name not in known:
            copy = side.graph.node.add()
            copy.CopyFrom(node)
            copy.name = ALONE + node.name
            copy.input[:] = map(read, node.input)
            copy.output[:] = [ALONE + (node.name if node.name in layers else name) for name in node.output]
    for tensor in added:
        constant = side.graph.initializer.add()
        constant.CopyFrom(tensor)
        constant.name = ALONE + tensor.name
    return _sorted(side)


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto:
    """With nodes in an order in which each reads what was made before."""
    made = {info.name for info in model.graph.input} | {t.name for t in model.graph.initializer} | {""}
    waiting, ordered = list(model.graph.node), []
    while waiting:
        ready = [node for node in waiting if made.issuperset(node.input)]
        made |= {name for node in ready for name in node.output}
        ordered += [onnx.NodeProto.FromString(node.SerializeToString()) for node in ready]
        waiting = [node for node in waiting if not made.issuperset(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    return model


def _run(
    model: onnx.ModelProto, outputs: Sequence[str], inputs: Sequence[str], rows: Sequence[Sequence[Array]]
) -> list[dict[str, Array]]:
    """What a graph makes of each row at some of its tensors: elements spread evenly, by the tensor's name."""
    watched = onnx.ModelProto()
    watched.CopyFrom(with_bodies(model))
    known = {info.name for info in watched.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in outputs
        if name not in known
    )
    session = guest_session(watched.SerializeToString())
    runs: list[dict[str, Array]] = []
    for row in rows:
        given = dict(zip(inputs, row, strict=True))
        runs.append({})
        for first in range(0, len(outputs), AT_A_TIME):
            names = list(outputs[first : first + AT_A_TIME])
            made = session.run(names, given)
            runs[-1] |= {name: sampled(array).copy() for name, array in zip(names, made, strict=True)}
    return runs
