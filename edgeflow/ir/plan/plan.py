"""A plan: the program after calls were fused into stages, as the runtime executes it.

A plan is a list of steps. Tiling, routing, stitching, state and sampling are the program's
own operations; calls have become stages. A stage has one graph per distinct variant; each
graph runs for the regions that its condition selects, and regions that no graph selects
keep the values named in `otherwise`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TypeAlias

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
)
from edgeflow.ir.route import Assignment, Condition, Variable


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
