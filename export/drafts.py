"""The planner: fuses a program's calls into stages and resolves every variant of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from edgeflow.ir.errors import ExportError
from edgeflow.ir.program import Call, Keep, Program, Route, Sample, Stitch, Tile, reads
from edgeflow.ir.route import (
    MOST_ASSIGNMENTS,
    NEVER,
    Assignment,
    Choice,
    Condition,
    assignment,
    assignments,
    count_assignments,
)

STRATEGIES = ("chained", "routes", "auto")
"""`chained`: one stage per call. `routes`: all calls between two decisions become one stage. `auto`: as
`edgeflow.export.planning.cuts` chooses between these, from costs."""


@dataclass(frozen=True)
class Link:
    """One call of a stage variant: the call, and the variable values its segment is built for."""

    call: Call
    variant: Assignment


@dataclass(frozen=True)
class Variant:
    """One graph to be made.

    Attributes:
        select: which regions it runs for.
        variant: one assignment that selects it.
        links: the calls that run, in order.
        inputs: program values it reads.
        outputs: (value, value made inside) for each output it computes.
        kept: (output value, input value) for each output that is an input unchanged.
    """

    select: Condition
    variant: Assignment
    links: tuple[Link, ...]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StageDraft:
    """A stage before its graphs exist."""

    name: str
    regions: str
    calls: tuple[Call, ...]
    variants: tuple[Variant, ...]
    otherwise: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class ChainDraft:
    """A chain before its graphs exist: the steps `first` to `end`, exclusive, and a variant for each likely route."""

    name: str
    first: int
    end: int
    variants: tuple[Variant, ...]


StepDraft: TypeAlias = Tile | Route | StageDraft | Stitch | Keep | Sample


@dataclass(frozen=True)
class PlanDraft:
    """A plan before its graphs exist."""

    strategy: str
    steps: tuple[StepDraft, ...]

    @property
    def stages(self) -> tuple[StageDraft, ...]:
        """Its stages, in order."""
        return tuple(step for step in self.steps if isinstance(step, StageDraft))


def plan(program: Program, strategy: str, starts: Collection[int] | None = None) -> PlanDraft:
    """Fuse a program's calls into stages.

    Args:
        program: as traced.
        strategy: `chained`, `routes`, or `auto` with `starts`.
        starts: positions of the operations that start a stage, for `auto`. A call elsewhere joins the
            stage of the call before it.

    Raises:
        ExportError: an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise ExportError(f"unknown plan {strategy!r}: use one of {', '.join(STRATEGIES)}")
    if starts is None:
        starts = range(len(program.operations)) if strategy == "chained" else ()
    steps: list[StepDraft] = []
    for run in runs(program):
        cuts = [run[0], *(position for position in run[1:] if position in starts), run[-1] + 1]
        for first, end in pairwise(cuts):
            operation = program.operations[first]
            steps.append(stage(program, first, end) if isinstance(operation, Call) else operation)
    return PlanDraft(strategy, tuple(_distinct(steps)))


def _distinct(steps: Sequence[StepDraft]) -> Iterator[StepDraft]:
    """The steps, of which stages that call one segment again have a number: `adacof`, `adacof.1`."""
    seen: Counter[str] = Counter()
    for step in steps:
        if isinstance(step, StageDraft):
            number = seen[step.name]
            seen[step.name] += 1
            step = replace(step, name=f"{step.name}.{number}") if number else step
        yield step


def runs(program: Program) -> list[range]:
    """Positions of neighbouring calls on one region set, which may become one stage; others stand alone."""
    found: list[range] = []
    for position, operation in enumerate(program.operations):
        before = program.operations[found[-1][0]] if found else None
        if isinstance(operation, Call) and isinstance(before, Call) and before.regions == operation.regions:
            found[-1] = range(found[-1].start, position + 1)
        else:
            found.append(range(position, position + 1))
    return found


def stage(program: Program, first: int, end: int) -> StageDraft:
    """The calls at positions `first` to `end`, exclusive, as one stage."""
    calls = tuple(op for op in program.operations[first:end] if isinstance(op, Call))
    later = {name for op in program.operations[end:] for name in reads(op)}
    return _stage(program, calls, later | set(program.results))


def chain_variant(program: Program, first: int, end: int, route: Assignment) -> Variant:
    """The calls at positions `first` to `end`, exclusive, on a route: with the scores of decisions among them.

    Args:
        program: as traced.
        first: position of a call.
        end: position after a call.
        route: a value for every variable that these calls read; more are left out.
    """
    inside = program.operations[first:end]
    calls = tuple(op for op in inside if isinstance(op, Call))
    needed = {name for op in program.operations[end:] for name in reads(op)} | set(program.results)
    needed |= {name for op in inside if isinstance(op, Route) for name in reads(op)}
    names = {name for call in calls for name in _shaping(program, call) | call.when.variables}
    own = assignment({name: value for name, value in route if name in names})
    links, aliases = _resolve(program, calls, dict(own))
    outputs = tuple(name for call in calls for name in call.outputs if name in needed)
    return _variant(program, links, [own], aliases, outputs)


def _stage(program: Program, calls: tuple[Call, ...], needed: set[str]) -> StageDraft:
    outputs = tuple(name for call in calls for name in call.outputs if name in needed)
    names = {name for call in calls for name in _shaping(program, call) | call.when.variables}
    variables = [variable for variable in program.variables if variable.name in names]
    if count_assignments(variables) > MOST_ASSIGNMENTS:
        raise ExportError(
            f"stage {calls[0].segment} depends on {len(variables)} decisions, {count_assignments(variables)} routes: at most "
            f"{MOST_ASSIGNMENTS} can be told apart; let fewer decisions be read together"
        )
    groups: dict[tuple[Link, ...], list[Assignment]] = {}
    resolved: dict[tuple[Link, ...], dict[str, str]] = {}
    for values_of in assignments(variables):
        links, aliases = _resolve(program, calls, dict(values_of))
        groups.setdefault(links, []).append(values_of)
        resolved[links] = aliases
    variants = tuple(
        _variant(program, links, members, resolved[links], outputs)
        for links, members in groups.items()
        if links
    )
    made = {name for call in calls for name in call.outputs}
    idle = resolved.get((), {})
    otherwise = tuple((name, _outside(idle.get(name), made)) for name in outputs)
    name = calls[0].segment if len(calls) == 1 else f"{calls[0].segment}..{calls[-1].segment}"
    return StageDraft(name, calls[0].regions, calls, variants, otherwise)


def _shaping(program: Program, call: Call) -> set[str]:
    """Variables that decide in which variant a call runs."""
    shapes = {name for value in call.inputs for name in program.value(value).variables}
    return shapes | {variable for _, variable in call.axes}


def _resolve(
    program: Program, calls: tuple[Call, ...], values: dict[str, Choice]
) -> tuple[tuple[Link, ...], dict[str, str]]:
    """The calls that run under an assignment, and which value each skipped output is."""
    links: list[Link] = []
    aliases: dict[str, str] = {}
    for call in calls:
        if call.when != NEVER and call.when.holds(values):
            inputs = tuple(aliases.get(name, name) for name in call.inputs)
            variant = assignment({name: values[name] for name in _shaping(program, call)})
            links.append(Link(_rewired(call, inputs), variant))
        else:
            for output, other in zip(call.outputs, call.otherwise, strict=True):
                if other is not None:
                    aliases[output] = aliases.get(other, other)
    return tuple(links), aliases


def _rewired(call: Call, inputs: tuple[str, ...]) -> Call:
    return Call(call.segment, call.regions, inputs, call.outputs, call.axes, call.constants)


def _variant(
    program: Program,
    links: tuple[Link, ...],
    members: list[Assignment],
    aliases: dict[str, str],
    outputs: tuple[str, ...],
) -> Variant:
    made = {name for link in links for name in link.call.outputs}
    read = [name for link in links for name in link.call.inputs if name not in made]
    computed, kept = [], []
    for name in outputs:
        source = aliases.get(name, name)
        if source in made:
            computed.append((name, source))
        elif source != name:
            kept.append((name, source))
    return Variant(
        select=_select(program, members),
        variant=members[0],
        links=links,
        inputs=tuple(dict.fromkeys(read)),
        outputs=tuple(computed),
        kept=tuple(kept),
    )


def _outside(name: str | None, made: set[str]) -> str | None:
    return None if name in made else name


def _select(program: Program, members: list[Assignment]) -> Condition:
    """The condition that holds for exactly these assignments."""
    chosen: dict[str, list[Choice]] = {}
    for member in members:
        for name, value in member:
            if value not in chosen.setdefault(name, []):
                chosen[name].append(value)
    size = 1
    for found in chosen.values():
        size *= len(found)
    if size == len(members):
        return _all_of(program, {name: tuple(found) for name, found in chosen.items()})
    condition: Condition | bool = False
    for member in members:
        condition = _all_of(program, {name: (value,) for name, value in member}) | condition
    return condition if isinstance(condition, Condition) else NEVER


def _all_of(program: Program, allowed: dict[str, tuple[Choice, ...]]) -> Condition:
    condition: Condition | bool = True
    for name, values in allowed.items():
        if len(values) < len(program.variable(name).axis.values):
            condition = Condition("in", variable=name, values=values) & condition
    return condition if isinstance(condition, Condition) else Condition("true")
