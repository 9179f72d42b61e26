"""The routed per-tile network as ONE ONNX model: nested `If` operators that choose a tile's route.

This is what a single static model with control flow looks like. `If` takes one scalar condition, so it
runs tile by tile. The branches are a bundle's own whole-route graphs. Weights lie once, in the outer graph,
or with each branch: ONNX Runtime brings only the latter into its blocked layout (NCHWc).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.plan import Port, Stage, StageGraph
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import Choice, Variable
from edgeflow.runtime import Session
from edgeflow.runtime.backends import Engine
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.stream.rows import Array


def session_of_one_model(
    bundle: Bundle,
    library: str,
    threads: int,
    size: tuple[int, int],
    policy: Policy | None = None,
    shared: bool = True,
) -> Session:
    """A session of a bundle of plan `routes` whose tiles run in the one model, written beside the bundle.

    Router, tiling, routing and stitching are edgeflow's: only the engines of the tiles are replaced.

    Args:
        bundle: of plan `routes`.
        library: engine library.
        threads: CPU threads.
        size: (height, width) of the frames.
        policy: as for any session.
        shared: weights lie once, in the outer graph; otherwise each branch has its own.
    """
    session = Session(bundle, library=library, threads=threads, policy=policy)
    session.prepare(*size)
    assert session.executor is not None
    plan = select_plan(bundle.manifest.plans, *size)
    (stage,) = (stage for stage in plan.stages if stage.regions != FRAME)
    path = bundle.path.with_name(f"{bundle.path.name}.{'shared' if shared else 'own'}.onnx")
    onnx.save(_Builder(bundle, stage, plan.variables, shared).model(), path)
    indices = [Port(v.name, v.name, (), "int64") for v in plan.variables]
    (output,) = stage.graphs[0].outputs
    engine = session.backend.load(path, (*stage.graphs[0].inputs, *indices), (output,), {})
    for graph in stage.graphs:
        route = dict(graph.variant)
        chosen = [np.array([v.axis.index(route[v.name])]) for v in plan.variables]
        session.executor.loaded[graph.key].engine = _OneRoute(engine, chosen)
    return session


class _OneRoute:
    """The one model with its route inputs set, run row by row."""

    def __init__(self, engine: Engine, chosen: Sequence[NDArray[np.intp]]) -> None:
        self._engine, self._chosen = engine, chosen

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for row in range(len(inputs[0])):
            one = slice(row, row + 1)
            self._engine.run([*(x[one] for x in inputs), *self._chosen], [x[one] for x in outputs])


@dataclass(frozen=True)
class _Part:
    """Nodes, the tensor they make, and the weights that lie with them."""

    nodes: list[onnx.NodeProto]
    made: str
    weights: list[onnx.TensorProto]


class _Builder:
    """Builds the model: an `If` per value of each variable, whole-route graphs at the leaves."""

    def __init__(self, bundle: Bundle, stage: Stage, variables: Sequence[Variable], shared: bool) -> None:
        self._stage, self._variables, self._shared = stage, variables, shared
        self._files = {g.graph: bundle.path / bundle.manifest.graphs[g.graph].file for g in stage.graphs}
        self._outer: dict[str, onnx.TensorProto] = {}
        self._number = count()

    def model(self) -> onnx.ModelProto:
        """The whole model: batch 1, an int64 index of shape (1,) per variable."""
        first = self._stage.graphs[0]
        (output,) = first.outputs
        part = self._choose(self._variables, {})
        nodes = [*part.nodes, helper.make_node("Identity", [part.made], [output.tensor])]
        inputs = [_image(port, port.tensor) for port in first.inputs]
        inputs += [helper.make_tensor_value_info(v.name, TensorProto.INT64, [1]) for v in self._variables]
        weights = [*self._outer.values(), *part.weights]
        graph = helper.make_graph(nodes, "routes", inputs, [_image(output, output.tensor)], weights)
        opset = onnx.load(self._files[first.graph], load_external_data=False).opset_import
        return helper.make_model(graph, opset_imports=opset, ir_version=10)

    def _choose(self, variables: Sequence[Variable], values: Mapping[str, Choice]) -> _Part:
        """What runs the route of the indices, `values` being decided already."""
        if not variables:
            return self._leaf(next(g for g in self._stage.graphs if g.select.holds(values)))
        first, *rest = variables
        *others, last = [self._choose(rest, {**values, first.name: value}) for value in first.axis.values]
        for index, part in reversed(list(enumerate(others))):
            last = self._if(first.name, index, part, last)
        return last

    def _if(self, variable: str, index: int, then: _Part, otherwise: _Part) -> _Part:
        name = f"if.{next(self._number)}"
        constant = f"index.{index}"
        self._outer.setdefault(constant, helper.make_tensor(constant, TensorProto.INT64, [1], [index]))
        equal = helper.make_node("Equal", [variable, constant], [f"{name}.condition"], name=f"{name}.equal")
        chosen = helper.make_node(
            "If",
            [f"{name}.condition"],
            [f"{name}.picture"],
            name=name,
            then_branch=self._branch(then),
            else_branch=self._branch(otherwise),
        )
        return _Part([equal, chosen], f"{name}.picture", [])

    def _branch(self, part: _Part) -> onnx.GraphProto:
        (output,) = self._stage.graphs[0].outputs
        name = f"branch.{next(self._number)}"
        return helper.make_graph(part.nodes, name, [], [_image(output, part.made)], part.weights)

    def _leaf(self, graph: StageGraph) -> _Part:
        """A route's nodes and weights, their tensors renamed but for weights that lie in the outer graph."""
        loaded = onnx.load(self._files[graph.graph]).graph
        prefix = f"route.{next(self._number)}/"
        kept = {"", *(port.tensor for port in graph.inputs)}
        if self._shared:
            self._outer.update({tensor.name: tensor for tensor in loaded.initializer})
            kept |= {tensor.name for tensor in loaded.initializer}
        else:
            for tensor in loaded.initializer:
                tensor.name = prefix + tensor.name
        for node in loaded.node:
            node.name = prefix + node.name
            node.input[:] = [name if name in kept else prefix + name for name in node.input]
            node.output[:] = [prefix + name if name else "" for name in node.output]
        weights = [] if self._shared else list(loaded.initializer)
        return _Part(list(loaded.node), prefix + graph.outputs[0].tensor, weights)


def _image(port: Port, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, [1, *port.shape])
