"""A plan as plain data, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgeflow.ir.errors import BundleError
from edgeflow.ir.interface import interface_from_json, interface_to_json
from edgeflow.ir.plan.plan import Chain, Plan, Port, Stage, StageGraph, Step
from edgeflow.ir.program import (
    Keep,
    Route,
    Sample,
    State,
    Stitch,
    Tile,
    Value,
    decision_from_json,
    decision_to_json,
)
from edgeflow.ir.route import Assignment, Choice, Condition


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    return {
        "strategy": plan.strategy,
        "inputs": [interface_to_json(spec) for spec in plan.inputs],
        "outputs": [interface_to_json(spec) for spec in plan.outputs],
        "results": list(plan.results),
        "states": [asdict(state) | {"shape": list(state.shape)} for state in plan.states],
        "values": [_value_to_json(value) for value in plan.values],
        "steps": [_step_to_json(step) for step in plan.steps],
        "chains": [
            {"first": c.first, "end": c.end, "graphs": [_graph_to_json(graph) for graph in c.graphs]}
            for c in plan.chains
        ],
    }


def plan_from_json(data: dict[str, Any]) -> Plan:
    """Inverse of `plan_to_json`."""
    return Plan(
        strategy=data["strategy"],
        inputs=tuple(interface_from_json(spec) for spec in data["inputs"]),
        outputs=tuple(interface_from_json(spec) for spec in data["outputs"]),
        results=tuple(data["results"]),
        states=tuple(State(**{**state, "shape": tuple(state["shape"])}) for state in data["states"]),
        values=tuple(_value_from_json(value) for value in data["values"]),
        steps=tuple(_step_from_json(step) for step in data["steps"]),
        chains=tuple(
            Chain(chain["first"], chain["end"], tuple(map(_graph_from_json, chain["graphs"])))
            for chain in data.get("chains", ())
        ),
    )


def _value_to_json(value: Value) -> dict[str, Any]:
    shapes = [[dict(variant), list(shape)] for variant, shape in value.shapes]
    return {"name": value.name, "regions": value.regions, "shapes": shapes, "image": value.image}


def _value_from_json(data: dict[str, Any]) -> Value:
    shapes = tuple((_variant(variant), tuple(shape)) for variant, shape in data["shapes"])
    return Value(data["name"], data["regions"], shapes, data["image"])


def _variant(data: dict[str, Choice]) -> Assignment:
    return tuple(sorted(data.items()))


def _step_to_json(step: Step) -> dict[str, Any]:
    match step:
        case Tile():
            fields: dict[str, Any] = {
                "regions": step.regions,
                "inputs": list(step.inputs),
                "outputs": list(step.outputs),
                "size": step.size,
                "halo": step.halo,
                "multiple": step.multiple,
                "smaller": step.smaller,
            }
        case Route():
            fields = {"regions": step.regions, "decisions": [decision_to_json(d) for d in step.decisions]}
        case Stage():
            fields = {
                "name": step.name,
                "regions": step.regions,
                "segments": list(step.segments),
                "graphs": [_graph_to_json(graph) for graph in step.graphs],
                "otherwise": [list(pair) for pair in step.otherwise],
            }
        case Stitch():
            fields = asdict(step)
        case Keep():
            fields = {"state": step.state, "input": step.input, "when": step.when.to_json()}
        case Sample():
            fields = {"input": step.input, "output": step.output, "variable": step.variable}
    return {"kind": type(step).__name__.lower(), **fields}


def _step_from_json(data: dict[str, Any]) -> Step:
    match data["kind"]:
        case "tile":
            sides = (tuple(data["inputs"]), tuple(data["outputs"]))
            smaller = data.get("smaller", 1)
            return Tile(data["regions"], *sides, data["size"], data["halo"], data["multiple"], smaller)
        case "route":
            return Route(data["regions"], tuple(decision_from_json(d) for d in data["decisions"]))
        case "stage":
            return Stage(
                data["name"],
                data["regions"],
                tuple(data["segments"]),
                tuple(_graph_from_json(graph) for graph in data["graphs"]),
                tuple((name, other) for name, other in data["otherwise"]),
            )
        case "stitch":
            return Stitch(data["regions"], data["input"], data["output"], data.get("blend", False))
        case "keep":
            return Keep(data["state"], data["input"], Condition.from_json(data["when"]))
        case "sample":
            return Sample(data["input"], data["output"], data["variable"])
    raise BundleError(f"plan: unknown step {data['kind']!r}; the bundle is from a newer edgeflow: update it")


def _graph_to_json(graph: StageGraph) -> dict[str, Any]:
    return {
        "select": graph.select.to_json(),
        "variant": dict(graph.variant),
        "graph": graph.graph,
        "flops": graph.flops,
        "batches": list(graph.batches),
        "golden": graph.golden,
        "inputs": [_port_to_json(port) for port in graph.inputs],
        "outputs": [_port_to_json(port) for port in graph.outputs],
        "exact": [_port_to_json(port) for port in graph.exact],
        "kept": [list(pair) for pair in graph.kept],
        "expected": graph.expected,
        "means": [_port_to_json(port) for port in graph.means],
        "flops_per_pixel": graph.flops_per_pixel,
    }


def _graph_from_json(data: dict[str, Any]) -> StageGraph:
    return StageGraph(
        Condition.from_json(data["select"]),
        _variant(data["variant"]),
        data["graph"],
        data["flops"],
        tuple(data["batches"]),
        data["golden"],
        tuple(_port_from_json(port) for port in data["inputs"]),
        tuple(_port_from_json(port) for port in data["outputs"]),
        tuple(_port_from_json(port) for port in data["exact"]),
        tuple((name, source) for name, source in data["kept"]),
        data["expected"],
        tuple(_port_from_json(port) for port in data["means"]),
        data["flops_per_pixel"],
    )


def _port_to_json(port: Port) -> list[Any]:
    return [port.value, port.tensor, list(port.shape), port.dtype]


def _port_from_json(data: list[Any]) -> Port:
    return Port(data[0], data[1], tuple(data[2]), data[3])
