"""The routed per-tile network as ONE ONNX model: nested `If` operators that choose a tile's route.

This is what a single static model with control flow looks like. `If` takes one scalar condition, so it
runs tile by tile. The branches are a bundle's own whole-route graphs; weights lie once, in the outer graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from edgeflow.runtime.policy import Policy
from edgeflow.runtime.rows import Array
from edgeflow.runtime.session import select_plan


def session_of_one_model(
    bundle: Bundle, library: str, threads: int, size: tuple[int, int], policy: Policy | None = None
) -> Session:
    """A session of a bundle of plan `routes` whose tiles run in the one model, written beside the bundle.

    Router, tiling, routing and stitching are edgeflow's: only the engines of the tiles are replaced.
    """
    session = Session(bundle, library=library, threads=threads, policy=policy)
    session.prepare(*size)
    assert session.executor is not None
    plan = select_plan(bundle.manifest.plans, *size)
    (stage,) = (stage for stage in plan.stages if stage.regions != FRAME)
    path = bundle.path.with_name(f"{bundle.path.name}.if.onnx")
    onnx.save(_Builder(bundle, stage, plan.variables).model(), path)
    indices = [Port(v.name, v.name, (), "int64") for v in plan.variables]
    (output,) = stage.graphs[0].outputs
    engine = session.backend.load(path, (*stage.graphs[0].inputs, *indices), (output,), {})
    for graph in stage.graphs:
        route = dict(graph.variant)
        chosen = [np.array([v.axis.index(route[v.name])]) for v in plan.variables]
        session.executor.loaded[graph.graph].engine = _OneRoute(engine, chosen)
    return session


class _OneRoute:
    """The one model with its route inputs set, run row by row."""

    def __init__(self, engine: Engine, chosen: Sequence[NDArray[np.intp]]) -> None:
        self._engine, self._chosen = engine, chosen

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for row in range(len(inputs[0])):
            one = slice(row, row + 1)
            self._engine.run([*(x[one] for x in inputs), *self._chosen], [x[one] for x in outputs])


class _Builder:
    """Builds the model: an `If` per value of each variable, whole-route graphs at the leaves."""

    def __init__(self, bundle: Bundle, stage: Stage, variables: Sequence[Variable]) -> None:
        self._stage, self._variables = stage, variables
        self._files = {g.graph: bundle.path / bundle.manifest.graphs[g.graph].file for g in stage.graphs}
        self._weights: dict[str, onnx.TensorProto] = {}
        self._number = count()

    def model(self) -> onnx.ModelProto:
        """The whole model: batch 1, an int64 index of shape (1,) per variable."""
        first = self._stage.graphs[0]
        (output,) = first.outputs
        nodes, made = self._choose(self._variables, {})
        nodes = [*nodes, helper.make_node("Identity", [made], [output.tensor])]
        inputs = [_image(port, port.tensor) for port in first.inputs]
        inputs += [helper.make_tensor_value_info(v.name, TensorProto.INT64, [1]) for v in self._variables]
        graph = helper.make_graph(
            nodes, "routes", inputs, [_image(output, output.tensor)], list(self._weights.values())
        )
        opset = onnx.load(self._files[first.graph], load_external_data=False).opset_import
        return helper.make_model(graph, opset_imports=opset, ir_version=10)

    def _choose(
        self, variables: Sequence[Variable], values: Mapping[str, Choice]
    ) -> tuple[list[onnx.NodeProto], str]:
        """Nodes that run the route of the indices, and the name of what they make."""
        if not variables:
            return self._leaf(next(g for g in self._stage.graphs if g.select.holds(values)))
        first, *rest = variables
        *others, last = enumerate(first.axis.values)
        nodes, made = self._choose(rest, {**values, first.name: last[1]})
        for index, value in reversed(others):
            nodes, made = self._if(
                first.name, index, self._choose(rest, {**values, first.name: value}), (nodes, made)
            )
        return nodes, made

    def _if(
        self,
        variable: str,
        index: int,
        then: tuple[list[onnx.NodeProto], str],
        otherwise: tuple[list[onnx.NodeProto], str],
    ) -> tuple[list[onnx.NodeProto], str]:
        name = f"if.{next(self._number)}"
        constant = f"index.{index}"
        self._weights.setdefault(constant, helper.make_tensor(constant, TensorProto.INT64, [1], [index]))
        return [
            helper.make_node("Equal", [variable, constant], [f"{name}.condition"], name=f"{name}.equal"),
            helper.make_node(
                "If",
                [f"{name}.condition"],
                [f"{name}.picture"],
                name=name,
                then_branch=self._branch(*then),
                else_branch=self._branch(*otherwise),
            ),
        ], f"{name}.picture"

    def _branch(self, nodes: list[onnx.NodeProto], made: str) -> onnx.GraphProto:
        (output,) = self._stage.graphs[0].outputs
        return helper.make_graph(nodes, f"branch.{next(self._number)}", [], [_image(output, made)])

    def _leaf(self, graph: StageGraph) -> tuple[list[onnx.NodeProto], str]:
        """A route's nodes, their tensors renamed; weights go to the outer graph."""
        loaded = onnx.load(self._files[graph.graph]).graph
        weights = {tensor.name: tensor for tensor in loaded.initializer}
        self._weights.update(weights)
        prefix = f"route.{next(self._number)}/"
        outer = {*weights, *(port.tensor for port in graph.inputs), ""}
        nodes = []
        for node in loaded.node:
            own = onnx.NodeProto()
            own.CopyFrom(node)
            own.name = prefix + node.name
            own.input[:] = [name if name in outer else prefix + name for name in node.input]
            own.output[:] = [prefix + name if name else "" for name in node.output]
            nodes.append(own)
        return nodes, prefix + graph.outputs[0].tensor


def _image(port: Port, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, [1, *port.shape])
