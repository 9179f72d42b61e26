"""A traced flow: pure data, single assignment.

A program is a list of operations over named values. A value holds one tensor per *region*
(the frame itself, or each tile of it); its shape may differ between variants. Shapes leave
out the leading region dimension.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from edgeflow.ir.errors import FlowError
from edgeflow.ir.interface import Clip as Clip
from edgeflow.ir.interface import Image as Image
from edgeflow.ir.interface import Interface as Interface
from edgeflow.ir.interface import Shape as Shape
from edgeflow.ir.interface import Tensor as Tensor
from edgeflow.ir.route import ALWAYS, Assignment, Axis, Choice, Condition, Variable, describe
from edgeflow.ir.rules import Rule, rule_from_json
from edgeflow.ir.task import Task
from edgeflow.ir.tiles import TileGrid

FRAME = "frame"
"""The region set of values that exist once per frame."""


@dataclass(frozen=True)
class Value:
    """One value of a program.

    Attributes:
        name: unique in the program.
        regions: `frame`, or the name of the tiling it belongs to.
        shapes: per variant, the shape of one region.
        image: held as uint8 at run time: (height, width, 3), or (frames, height, width, 3) of a clip.
    """

    name: str
    regions: str
    shapes: tuple[tuple[Assignment, Shape], ...]
    image: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables its shape depends on."""
        return tuple(name for name, _ in self.shapes[0][0])

    def shape(self, values: dict[str, Choice]) -> Shape:
        """Its shape where the variables have these values."""
        key = tuple((name, values[name]) for name in self.variables)
        return dict(self.shapes)[key]

    def __str__(self) -> str:
        shapes = " | ".join(
            "x".join(map(str, s)) + (f" at {describe(v)}" if v else "") for v, s in self.shapes
        )
        return f"{self.name}: {self.regions}[{shapes}]" + (" image" if self.image else "")


@dataclass(frozen=True)
class Tile:
    """Cuts frames, or what segments made of them, into tiles; `outputs[i]` holds the tiles of `inputs[i]`. See `TileGrid`.

    What is cut is `smaller` times smaller than the frame, and `size`, `halo` and `multiple` are in its own pixels.
    """

    regions: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size: int
    halo: int
    multiple: int = 1
    smaller: int = 1

    def grid(self, height: int, width: int) -> TileGrid:
        """The tiles of a frame of that size, in pixels."""
        sides = height // self.smaller, width // self.smaller
        return TileGrid(*sides, self.size, self.halo, self.multiple)


@dataclass(frozen=True)
class Decision:
    """One variable's rule, and the scores it reads (none for a host rule).

    Attributes:
        variable: that is decided.
        rule: that decides it.
        scores: the value it reads.
        pooled: how a map of scores over the frame becomes scores of each region: `mean` or `max` over its
            patch. Empty where regions have scores of their own.
    """

    variable: Variable
    rule: Rule
    scores: str | None = None
    pooled: str = ""


@dataclass(frozen=True)
class Route:
    """Takes decisions for every region of a region set."""

    regions: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Call:
    """Runs a segment on the regions where `when` holds.

    Attributes:
        segment: dotted name of a module or method of the model.
        regions: region set it runs for.
        inputs: value names, in the segment's argument order.
        outputs: value names.
        axes: keyword argument -> variable whose value it gets.
        constants: keyword argument -> fixed value.
        when: where it runs.
        otherwise: the value each output takes elsewhere; None where it has none.
    """

    segment: str
    regions: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, Choice], ...] = ()
    when: Condition = ALWAYS
    otherwise: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Stitch:
    """Puts the patches of a tile value back into a frame; with `blend`, whole tiles, which fade into each other."""

    regions: str
    input: str
    output: str
    blend: bool = False


@dataclass(frozen=True)
class Keep:
    """Writes a value to a state, in the regions where `when` holds."""

    state: str
    input: str
    when: Condition = ALWAYS


@dataclass(frozen=True)
class Sample:
    """Takes as many evenly spaced entries along the free first dimension as the variable says."""

    input: str
    output: str
    variable: str


Operation: TypeAlias = Tile | Route | Call | Stitch | Keep | Sample


@dataclass(frozen=True)
class State:
    """A tensor that lives across frames.

    Attributes:
        name: of its value.
        shape: of one region.
        fill: what it holds after a reset.
        regions: there is one for each of these.
        image: held in bytes, (height, width, 3).
    """

    name: str
    shape: Shape
    fill: float = 0.0
    regions: str = FRAME
    image: bool = False


@dataclass(frozen=True)
class Program:
    """The traced flow of a model.

    Attributes:
        name: of the model.
        frame: frames it is for: `any`, `landscape`, `portrait`, or `WIDTHxHEIGHT`.
        inputs: declared by the model, in order.
        outputs: declared by the model, in order.
        results: the values that are its outputs.
        variables: decisions, in the order they are taken.
        states: tensors that live across frames.
        values: everything that an operation reads or makes.
        operations: in order.
        task: what a call is made of, and what comes of it.
    """

    name: str
    frame: str
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    results: tuple[str, ...]
    variables: tuple[Variable, ...]
    states: tuple[State, ...]
    values: tuple[Value, ...]
    operations: tuple[Operation, ...]
    task: Task

    def value(self, name: str) -> Value:
        """The value of that name."""
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, Value]:
        """Values by name."""
        return {value.name: value for value in self.values}

    def variable(self, name: str) -> Variable:
        """The decision variable of that name."""
        return next(v for v in self.variables if v.name == name)

    @property
    def axes(self) -> dict[str, Axis]:
        """Axis of each variable."""
        return {variable.name: variable.axis for variable in self.variables}

    def __str__(self) -> str:
        return "\n".join(
            [f"program {self.name}", *(f"  {line}" for line in map(self._line, self.operations))]
        )

    def _line(self, operation: Operation) -> str:
        out = [str(self.value(name)) for name in writes(operation)]
        left = f"{', '.join(out)} = " if out else ""
        match operation:
            case Tile():
                sizes = f"size={operation.size}, halo={operation.halo}, multiple={operation.multiple}"
                return f"{left}tile({', '.join(operation.inputs)}, {sizes})"
            case Route():
                rules = (f"{d.variable.name}={d.rule.kind}({d.scores or ''})" for d in operation.decisions)
                return f"route {operation.regions}: {', '.join(rules)}"
            case Call():
                axes = "".join(f", {k}={v}" for k, v in (*operation.axes, *operation.constants))
                when = "" if operation.when == ALWAYS else f" when {operation.when}"
                return f"{left}{operation.segment}({', '.join(operation.inputs)}{axes}){when}"
            case Stitch():
                return f"{left}stitch({operation.input}{', blend' if operation.blend else ''})"
            case Keep():
                return f"keep {operation.state} = {operation.input} when {operation.when}"
            case Sample():
                return f"{left}sample({operation.input}, {operation.variable})"

    def verify(self) -> None:
        """Check the rules that every program obeys.

        Raises:
            FlowError: the first broken rule, and where.
        """
        known = {spec.name for spec in self.inputs} | {state.name for state in self.states}
        decided: set[str] = set()
        for operation in self.operations:
            where = f"program {self.name}, {type(operation).__name__.lower()} {', '.join(writes(operation))}"
            for name in reads(operation):
                if name not in known:
                    raise FlowError(f"{where}: reads {name!r} before it is made; order the flow's calls")
            for condition in (operation.when,) if isinstance(operation, Call | Keep) else ():
                if missing := condition.variables - decided:
                    raise FlowError(f"{where}: depends on {sorted(missing)} before they are decided")
            for name in writes(operation):
                if name in known:
                    raise FlowError(f"{where}: {name!r} is made twice; every value has one maker")
                known.add(name)
            if isinstance(operation, Route):
                decided |= {decision.variable.name for decision in operation.decisions}
        for name in self.results:
            if name not in known:
                raise FlowError(f"program {self.name}: its result {name!r} is never made")


def region_counts(steps: Iterable[object], size: tuple[int, int]) -> dict[str, int]:
    """How many regions each region set has in a frame (height, width), by the tilings among some operations or steps."""
    tilings = (step for step in steps if isinstance(step, Tile))
    return {FRAME: 1, **{tiling.regions: len(tiling.grid(*size)) for tiling in tilings}}


def reads(operation: Operation) -> tuple[str, ...]:
    """Names of the values an operation reads."""
    match operation:
        case Tile():
            return operation.inputs
        case Route():
            return tuple(d.scores for d in operation.decisions if d.scores is not None)
        case Call():
            return (*operation.inputs, *(name for name in operation.otherwise if name is not None))
        case Stitch() | Keep() | Sample():
            return (operation.input,)


def writes(operation: Operation) -> tuple[str, ...]:
    """Names of the values an operation makes."""
    match operation:
        case Tile() | Call():
            return operation.outputs
        case Stitch() | Sample():
            return (operation.output,)
        case Route() | Keep():
            return ()


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """A decision as plain data."""
    return {
        "variable": decision.variable.name,
        "axis": list(decision.variable.axis.values),
        "rule": decision.rule.to_json(),
        "scores": decision.scores,
        "pooled": decision.pooled,
    }


def decision_from_json(data: dict[str, Any]) -> Decision:
    """Inverse of `decision_to_json`."""
    variable = Variable(data["variable"], Axis(*data["axis"]))
    pooled = {True: "mean", False: ""}.get(data["pooled"], data["pooled"])  # a truth value before schema 1.6
    return Decision(variable, rule_from_json(data["rule"]), data["scores"], pooled)
