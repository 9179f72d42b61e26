"""A plan: the program after calls were fused into stages, as the runtime executes it.

A plan is a list of steps. Tiling, routing, stitching, state and sampling are the program's
own operations; calls have become stages. A stage has one graph per distinct variant; each
graph runs for the regions that its condition selects, and regions that no graph selects
keep the values named in `otherwise`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from edgeflow.ir.errors import BundleError
from edgeflow.ir.interface import interface_from_json, interface_to_json
from edgeflow.ir.program import (
    Interface,
    Keep,
    Route,
    Sample,
    Shape,
    State,
    Stitch,
    Tile,
    Value,
    decision_from_json,
    decision_to_json,
)
from edgeflow.ir.route import Assignment, Choice, Condition, Variable


@dataclass(frozen=True)
class Port:
    """One input or output of a graph.

    Attributes:
        value: the program value it carries.
        tensor: its name in the graph file.
        shape: of one region, as held at run time; a string is a free dimension.
        dtype: numpy name, or `bfloat16` (see `edgeflow.ir.bfloat16`).
    """

    value: str
    tensor: str
    shape: Shape
    dtype: str


EXACT = ".exact"
"""Suffix of the tensor of an image output before it is rounded to uint8."""

COUNTED_AT = 720 * 1280
"""Pixels of the frame at which the FLOPs of a graph for frames of any size are counted."""

MEAN = ".mean"
"""Suffix of the tensor that says whether an image output is finite: the mean of its elements before rounding."""


@dataclass(frozen=True)
class StageGraph:
    """One variant of a stage.

    Attributes:
        select: which regions it runs for.
        variant: the variable values its shapes are for.
        graph: id of a graph of the bundle; variants that differ in nothing but shapes share one.
        flops: of one region, 2 per multiply-accumulate; where its frames may have any size, of one of 1280x720.
        batches: static batch sizes it is run at, ascending, from 1.
        golden: path of its golden vectors in the bundle.
        inputs: in the graph's order.
        outputs: in the graph's order.
        exact: image outputs once more, as float (3, height, width) before rounding.
        means: of image outputs before rounding, one float each: bytes cannot show NaN and infinity, a mean does.
            Empty in bundles of older schemas.
        flops_per_pixel: what a pixel of the frame adds to `flops` where frames may have any size.
        kept: (output value, input value): outputs that are an input unchanged.
        expected: regions of a frame that are expected to run it, by the routes that were planned for; None if
            that is not known.
    """

    select: Condition
    variant: Assignment
    graph: str
    flops: int
    batches: tuple[int, ...]
    golden: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    exact: tuple[Port, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    expected: float | None = None
    means: tuple[Port, ...] = ()
    flops_per_pixel: float = 0.0

    def made(self, exact: bool) -> tuple[Port, ...]:
        """Its outputs, images as uint8, or `exact`: as float before rounding."""
        floats = {port.value: port for port in self.exact} if exact else {}
        return tuple(floats.get(port.value, port) for port in self.outputs)

    def written(self, exact: bool) -> tuple[Port, ...]:
        """What its engine writes: its outputs, and after images in bytes their means."""
        return self.made(exact) + (() if exact else self.means)

    def flops_at(self, size: tuple[int, int]) -> int:
        """FLOPs of one region in frames (height, width)."""
        return max(self.flops + round(self.flops_per_pixel * (size[0] * size[1] - COUNTED_AT)), 0)

    @property
    def key(self) -> str:
        """What tells it from the other variants in measurements: the graph, and what shapes it has there."""
        shapes = ("x".join(map(str, port.shape)) for port in self.inputs)
        return f"{self.graph} {' '.join(shapes)}"


@dataclass(frozen=True)
class Stage:
    """Calls that run as one engine per variant.

    Attributes:
        name: unique in the plan.
        regions: region set it runs for.
        segments: the segments it is made of.
        graphs: one per distinct variant; their conditions exclude each other.
        otherwise: (output value, value it takes where no graph is selected).
    """

    name: str
    regions: str
    segments: tuple[str, ...]
    graphs: tuple[StageGraph, ...]
    otherwise: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Chain:
    """Steps that one engine can run on likely routes, while they are not decided yet.

    The engine makes the scores of the decisions among these steps as well. Where they say what it was built for, its outputs are
    those of the steps; else the steps run as they are.

    Attributes:
        first: number of the first of the steps, a stage.
        end: number after the last of them, a stage.
        graphs: one for each route, the likeliest first; their `variant` is the route, of the variables that these steps read.
    """

    first: int
    end: int
    graphs: tuple[StageGraph, ...]


Step: TypeAlias = Tile | Route | Stage | Stitch | Keep | Sample


@dataclass(frozen=True)
class Plan:
    """What the runtime executes for each frame.

    Attributes:
        strategy: how the calls were fused: `chained`, `routes` or `auto`.
        inputs: of the program.
        outputs: of the program.
        results: the values that are its outputs.
        states: tensors that live across frames.
        values: every value that a step reads or makes.
        steps: in order.
        chains: of steps on likely routes, in order; none overlap.
    """

    strategy: str
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    results: tuple[str, ...]
    states: tuple[State, ...]
    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    chains: tuple[Chain, ...] = ()

    @property
    def graphs(self) -> tuple[StageGraph, ...]:
        """The graphs of its stages and chains."""
        stages = (graph for stage in self.stages for graph in stage.graphs)
        return (*stages, *(graph for chain in self.chains for graph in chain.graphs))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages, in order."""
        return tuple(step for step in self.steps if isinstance(step, Stage))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Its decision variables, in the order they are decided."""
        routes = (step for step in self.steps if isinstance(step, Route))
        return tuple(decision.variable for route in routes for decision in route.decisions)

    @property
    def usual(self) -> frozenset[str]:
        """Graphs that more than half of the regions of their stage are expected to run."""
        found = set()
        for stage in self.stages:
            expected: defaultdict[str, float] = defaultdict(float)
            for graph in stage.graphs:
                expected[graph.graph] += graph.expected or 0.0
            found |= {name for name, regions in expected.items() if 2 * regions > sum(expected.values())}
        return frozenset(found)

    @property
    def deciding(self) -> frozenset[str]:
        """Graphs whose outputs a route reads."""
        routes = (step for step in self.steps if isinstance(step, Route))
        scores = {decision.scores for route in routes for decision in route.decisions}
        return frozenset(
            graph.graph
            for stage in self.stages
            for graph in stage.graphs
            if scores & {port.value for port in graph.outputs}
        )


# The manifest's form of a plan: plain data with one key `kind` per step.


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
