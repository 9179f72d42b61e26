"""What a plan's parts have to do with each other: every rule that the runtime relies on, and where it is broken.

The fields themselves were checked before (`manifest_schema`). A plan without faults runs: every name is known, every shape
is its value's, every region's variables are decided before they are read, and no two engines of a stage want the same region.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.interface import Clip, held_shape
from edgeflow.ir.plan import Chain, Plan, Port, Stage, StageGraph
from edgeflow.ir.program import FRAME, Decision, Keep, Route, Sample, Shape, Stitch, Tile, Value
from edgeflow.ir.route import MOST_ASSIGNMENTS, Axis, Condition, Variable, count_assignments
from edgeflow.ir.rules import HostRule, Length, Nearest, ScoreRule

LARGEST_REGION = 1 << 36
"""Bytes of one region's tensor, as far as its size is fixed."""


@dataclass
class _Known:
    """What is known before a step.

    Attributes:
        values: of the plan, by name.
        made: names of the values that are there.
        tilings: by the regions they make.
        axes: of the variables that are decided.
        owners: regions that they are decided for.
    """

    values: Mapping[str, Value]
    made: set[str]
    tilings: dict[str, Tile] = field(default_factory=dict)
    axes: dict[str, Axis] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def shape(self, name: str, variant: Mapping[str, object]) -> Shape | None:
        """A value's shape as it is held; None where the variant does not say which of its shapes it is."""
        value = self.values[name]
        for assigned, shape in value.shapes:
            if all(key in variant and _same(variant[key], own) for key, own in assigned):
                return held_shape(shape) if value.image else shape
        return None


def plan_faults(plan: Plan, where: str) -> Iterator[str]:
    """Every fault of a plan whose fields are good.

    Args:
        plan: to look at.
        where: its place, for messages.
    """
    known = _Known({value.name: value for value in plan.values}, set())
    yield from (f"{where}: {fault}" for fault in _value_faults(plan, known))
    for number, step in enumerate(plan.steps):
        place = f"{where}.steps[{number}]"
        match step:
            case Tile():
                found = _tile(step, known)
            case Route():
                found = _route(step, plan, known)
            case Stage():
                found = _stage(step, known)
            case Stitch():
                found = _stitch(step, known)
            case Keep():
                found = _keep(step, plan, known)
            case Sample():
                found = _sample(step, plan, known)
        faults = list(found)
        yield from (f"{place}: {fault}" for fault in faults)
        if faults:
            return  # what follows would only be as wrong
    for number, chain in enumerate(plan.chains):
        yield from (f"{where}.chains[{number}]: {fault}" for fault in _chain(chain, plan, known))
    yield from (f"{where}: {fault}" for fault in _overlapping_chains(plan))
    yield from (f"{where}: {fault}" for fault in _results(plan, known))


def _value_faults(plan: Plan, known: _Known) -> Iterator[str]:
    """Names that stand for two things, inputs and states without a value, pictures that are none."""
    for what, names in (
        ("values", [value.name for value in plan.values]),
        ("inputs and states", [own.name for own in (*plan.inputs, *plan.states)]),
        ("variables", [variable.name for variable in plan.variables]),
        ("tilings", [FRAME, *(step.regions for step in plan.steps if isinstance(step, Tile))]),
    ):
        yield from (
            f"two of its {what} are called {name!r}" for name, count in Counter(names).items() if count > 1
        )
    regions = {FRAME, *(step.regions for step in plan.steps if isinstance(step, Tile))}
    for value in plan.values:
        if value.regions not in regions:
            yield f"the value {value.name!r} is of {value.regions!r}, which no step makes"
        if value.image and any(len(s) not in (3, 4) or s[-3] != 3 for _, s in value.shapes):
            yield f"the value {value.name!r} is an image, and its shape is not"
    for own in (*plan.inputs, *plan.states):
        found = known.values.get(own.name)
        if found is None:
            continue  # nothing reads it
        if found.image != own.image or any(shape != tuple(own.shape) for _, shape in found.shapes):
            yield f"the value {own.name!r} is not as it is declared"
        if found.regions != getattr(own, "regions", FRAME):
            yield f"the value {own.name!r} is of other regions than declared"
    known.made |= {own.name for own in (*plan.inputs, *plan.states)}


def _results(plan: Plan, known: _Known) -> Iterator[str]:
    if len(plan.results) != len(plan.outputs):
        yield f"it has {len(plan.outputs)} outputs and {len(plan.results)} results"
        return
    for name, spec in zip(plan.results, plan.outputs, strict=True):
        value = known.values.get(name)
        if name not in known.made or value is None:
            yield f"its result {name!r} is never made"
        elif value.regions != FRAME or (
            value.image and not spec.image
        ):  # a picture that something reads is no image yet
            yield f"its result {name!r} is not what the output {spec.name!r} is declared to be"


def _read(names: Sequence[str], regions: str, known: _Known) -> Iterator[str]:
    """Values that are not there yet, or of other regions."""
    for name in names:
        value = known.values.get(name)  # a state that no graph reads itself has none
        if name not in known.made:
            yield f"it reads {name!r} before it is made"
        elif value is not None and value.regions != regions:
            yield f"it reads {name!r}, which is of {value.regions!r}, not of {regions!r}"


def _write(names: Sequence[str], regions: str, known: _Known) -> Iterator[str]:
    """Values that are made twice, or are of other regions; they are there from now on."""
    for name in names:
        if name in known.made:
            yield f"it makes {name!r} a second time"
        elif name not in known.values or known.values[name].regions != regions:
            yield f"it makes {name!r}, which is no value of {regions!r}"
        known.made.add(name)


def _tile(step: Tile, known: _Known) -> Iterator[str]:
    yield from _read(step.inputs, FRAME, known)
    try:
        step.grid(step.smaller, step.smaller)
    except EdgeflowError as error:
        yield str(error)
    if len(step.inputs) != len(step.outputs):
        yield f"it cuts {len(step.inputs)} values into {len(step.outputs)}"
    for source, made in zip(step.inputs, step.outputs, strict=False):
        if {source, made} <= set(known.values) and not _cut_of(
            known.values[source], known.values[made], step
        ):
            yield f"{made!r} is of another shape than tiles of {source!r}"
    known.tilings[step.regions] = step
    yield from _write(step.outputs, step.regions, known)


def _cut_of(source: Value, made: Value, step: Tile) -> bool:
    """Whether a value may be what a tiling makes of another: tiles, or what has no height and width as it is."""
    (_, whole), *_ = source.shapes
    (_, cut), *_ = made.shapes
    return cut == (whole[0], step.size, step.size) if len(whole) == 3 else len(whole) == 1 and cut == whole


def _route(step: Route, plan: Plan, known: _Known) -> Iterator[str]:
    if step.regions != FRAME and step.regions not in known.tilings:
        yield f"{step.regions!r} is no tiling before it"
        return
    for decision in step.decisions:
        yield from (f"{decision.variable.name}: {fault}" for fault in _decision(decision, step, plan, known))
        known.axes[decision.variable.name] = decision.variable.axis
        known.owners[decision.variable.name] = step.regions


def _decision(decision: Decision, step: Route, plan: Plan, known: _Known) -> Iterator[str]:
    rule, axis = decision.rule, decision.variable.axis
    try:
        rule.check_axis(axis)
    except (EdgeflowError, TypeError, ValueError) as error:
        yield f"{rule.kind}: {error}"
        return
    if decision.scores is not None:
        yield from _read([decision.scores], FRAME if decision.pooled else step.regions, known)
    if isinstance(rule, HostRule):
        if step.regions != FRAME:
            yield f"{rule.kind} decides for the frame, not for {step.regions!r}"
        if rule.measures and decision.scores is None:
            yield f"{rule.kind} reads a measure, and there is none"
        length = rule.length if isinstance(rule, Nearest) else None
        if isinstance(length, Length) and length.input not in {spec.name for spec in plan.inputs}:
            yield f"{length.input!r} is no input"
        return
    if decision.scores is None or decision.scores not in known.values:
        yield f"{rule.kind} reads scores, and there are none"
        return
    shapes = [shape for _, shape in known.values[decision.scores].shapes]
    width = rule.width(axis) if isinstance(rule, ScoreRule) else None
    for shape in shapes:
        scores = (
            shape[0] if decision.pooled and len(shape) == 3 else prod(s for s in shape if isinstance(s, int))
        )
        if (decision.pooled and (len(shape) != 3 or step.regions == FRAME)) or any(
            isinstance(s, str) for s in shape[:1]
        ):
            yield f"scores of shape {shape} cannot be read for {step.regions!r}"
        elif width is not None and scores != width:
            yield f"{rule.kind} reads {width} scores, {decision.scores!r} has {scores}"


def _stage(step: Stage, known: _Known) -> Iterator[str]:
    if step.regions != FRAME and step.regions not in known.tilings:
        yield f"{step.regions!r} is no tiling before it"
        return
    outputs = {name for name, _ in step.otherwise}
    if len(outputs) != len(step.otherwise):
        yield "it makes a value twice"
    yield from _read([other for _, other in step.otherwise if other is not None], step.regions, known)
    for number, graph in enumerate(step.graphs):
        made = {port.value for port in graph.outputs} | {name for name, _ in graph.kept}
        if odd := sorted(made - outputs):
            yield f"graphs[{number}] makes {odd}, which the stage does not"
        yield from _deciders(graph.select, step.regions, known)
        yield from (f"graphs[{number}]: {fault}" for fault in _graph(graph, step.regions, known))
    missing = (
        outputs
        - {p.value for g in step.graphs for p in g.outputs}
        - {n for g in step.graphs for n, _ in g.kept}
    )
    if missing:
        yield f"no graph of it makes {sorted(missing)}"
    for name, other in step.otherwise:
        if other is not None and name in known.values and other in known.values:
            yield from _alike(name, other, known)
    yield from _overlaps([graph.select for graph in step.graphs], known)
    yield from _write([name for name, _ in step.otherwise], step.regions, known)


def _graph(
    graph: StageGraph, regions: str, known: _Known, beside: frozenset[str] = frozenset()
) -> Iterator[str]:
    """A graph's ports against the values that they carry.

    Args:
        graph: to look at.
        regions: that it runs for.
        known: before its step.
        beside: values that it may read though they are not made yet.
    """
    if graph.batches[:1] != (1,) or list(graph.batches) != sorted(set(graph.batches)):
        yield f"batch sizes ascend from 1, got {list(graph.batches[:8])}"
    for name, value in graph.variant:
        if name in known.axes and not _has(known.axes[name], value):
            yield f"its variant says {name}={value!r}, which is no choice"
    variant = dict(graph.variant)
    yield from _read([p.value for p in graph.inputs if p.value not in beside], regions, known)
    yield from _read([source for _, source in graph.kept if source not in beside], regions, known)
    for port in (*graph.inputs, *graph.outputs):
        yield from _port(port, variant, known)
    pictures = {port.value: port for port in graph.outputs if port.dtype == "uint8"}
    for port in graph.exact:
        whole = pictures.get(port.value)
        if whole is None or port.dtype != "float32" or held_shape(port.shape) != whole.shape:
            yield f"{port.tensor!r} is no image output before it is rounded"
    if sorted(port.value for port in graph.exact) != sorted(pictures):
        yield f"exact has one port for each image output ({', '.join(sorted(pictures)) or 'none'})"
    for port in graph.means:
        if port.value not in pictures or port.shape or port.dtype != "float32":
            yield f"{port.tensor!r} is no mean of an image output"
    for name, source in graph.kept:
        if name in known.values and source in known.values:
            yield from _alike(name, source, known, variant)


def _port(port: Port, variant: Mapping[str, object], known: _Known) -> Iterator[str]:
    value = known.values.get(port.value)
    if value is None:
        yield f"the port {port.tensor!r} carries {port.value!r}, which is no value"
        return
    shape = known.shape(port.value, variant)
    if value.image != (port.dtype == "uint8") or (shape is not None and shape != port.shape):
        yield f"the port {port.tensor!r} is {port.dtype} of {list(port.shape)}, its value is not"
    elif shape is None and port.shape not in [held_shape(s) if value.image else s for _, s in value.shapes]:
        yield f"the port {port.tensor!r} is of {list(port.shape)}, its value never"
    if (
        prod(side for side in port.shape if isinstance(side, int)) * held(port.dtype).itemsize
        > LARGEST_REGION
    ):
        yield f"the port {port.tensor!r} is larger than {LARGEST_REGION >> 30} GiB"


def _alike(
    name: str, other: str, known: _Known, variant: Mapping[str, object] | None = None
) -> Iterator[str]:
    """A value that takes another's place has to be of its shape."""
    one, two = known.values[name], known.values[other]
    if variant is not None:
        shapes = known.shape(name, variant), known.shape(other, variant)
        same = None in shapes or shapes[0] == shapes[1]
    else:
        same = bool({shape for _, shape in one.shapes} & {shape for _, shape in two.shapes})
    if one.image != two.image or one.regions != two.regions or not same:
        yield f"{other!r} cannot stand for {name!r}: it is of another shape, type or region"


def _deciders(condition: Condition, regions: str, known: _Known) -> Iterator[str]:
    """Variables that are not decided yet, or for other regions; choices that their axes lack."""
    for name, values in _asked(condition):
        if name not in known.axes:
            yield f"it asks for {name!r} before that is decided"
        elif known.owners[name] not in (regions, FRAME):
            yield f"it asks for {name!r}, which is decided for {known.owners[name]!r}"
        else:
            yield from (
                f"{value!r} is no choice of {name}" for value in values if not _has(known.axes[name], value)
            )


def _asked(condition: Condition) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Each variable and the values that a condition asks of it."""
    waiting = [condition]
    while waiting:
        own = waiting.pop()
        waiting += own.terms
        if own.op == "in":
            yield own.variable, own.values


def _overlaps(conditions: Sequence[Condition], known: _Known) -> Iterator[str]:
    """Graphs of one stage that want the same region; the conditions are tried on all choices that they ask for."""
    names = sorted(set().union(*(own.variables for own in conditions)))
    if any(name not in known.axes for name in names) or len(conditions) < 2:
        return
    variables = [Variable(name, known.axes[name]) for name in names]
    count = count_assignments(variables)
    if count > MOST_ASSIGNMENTS * 64:
        yield f"its graphs depend on {count} choices together, more than can be told apart"
        return
    sizes = [len(variable.axis.values) for variable in variables]
    places = np.indices(sizes).reshape(len(sizes), -1) if sizes else np.zeros((0, 1), np.intp)
    routes = dict(zip(names, places, strict=True))
    try:
        wanted = sum(own.mask(routes, known.axes, count).astype(np.intp) for own in conditions)
    except EdgeflowError:
        return  # a choice that an axis lacks, which is said already
    if np.max(wanted) > 1:
        first = int(np.argmax(wanted))
        at = ", ".join(f"{v.name}={v.axis.values[p[first]]}" for v, p in zip(variables, places, strict=True))
        yield f"two of its graphs run at {at or 'once'}"


def _stitch(step: Stitch, known: _Known) -> Iterator[str]:
    tiling = known.tilings.get(step.regions)
    if tiling is None:
        yield f"{step.regions!r} is no tiling before it"
        return
    yield from _read([step.input], step.regions, known)
    if step.input in known.values:
        for _, shape in known.values[step.input].shapes:
            sides = shape[-2:]
            square = len(shape) == 3 and len(set(sides)) == 1 and isinstance(sides[0], int)
            if not square or int(sides[0]) % tiling.size:
                yield f"{step.input!r} of shape {shape} are no tiles of {tiling.size}"
    yield from _write([step.output], FRAME, known)


def _keep(step: Keep, plan: Plan, known: _Known) -> Iterator[str]:
    state = next((state for state in plan.states if state.name == step.state), None)
    if state is None:
        yield f"there is no state {step.state!r}"
        return
    yield from _read([step.input], state.regions, known)
    yield from _deciders(step.when, state.regions, known)
    if step.input in known.values:
        value = known.values[step.input]
        if value.image != state.image or any(shape != tuple(state.shape) for _, shape in value.shapes):
            yield f"{step.input!r} cannot be kept in {step.state!r}: it is of another shape or type"


def _sample(step: Sample, plan: Plan, known: _Known) -> Iterator[str]:
    if step.input not in {spec.name for spec in plan.inputs if isinstance(spec, Clip) or len(spec.shape) > 1}:
        yield f"{step.input!r} is no input that can be sampled"
    axis = known.axes.get(step.variable)
    if axis is None or known.owners[step.variable] != FRAME:
        yield f"{step.variable!r} is not decided for the frame before it"
    elif not all(type(value) is int and 1 <= value <= 4096 for value in axis.values):
        yield f"{step.variable!r} counts entries, so its choices are whole numbers from 1 to 4096"
    yield from _read([step.input], FRAME, known)
    yield from _write([step.output], FRAME, known)


def _chain(chain: Chain, plan: Plan, known: _Known) -> Iterator[str]:
    """A chain's steps, and its graphs against the values that these steps read and make."""
    if not 0 <= chain.first < chain.end <= len(plan.steps):
        yield f"there are no steps {chain.first} to {chain.end}"
        return
    steps = plan.steps[chain.first : chain.end]
    if not all(isinstance(step, Stage | Route) and step.regions == FRAME for step in steps):
        yield "it runs other steps than stages and decisions of the frame"
        return
    stages = [step for step in steps if isinstance(step, Stage)]
    inside = {name for stage in stages for name, _ in stage.otherwise}
    before = _made_before(plan, chain.first)
    for number, graph in enumerate(chain.graphs):
        made = {port.value for port in graph.outputs} | {name for name, _ in graph.kept}
        read = {port.value for port in graph.inputs} | {source for _, source in graph.kept}
        if odd := sorted((made - inside) | (read - before)):
            yield f"graphs[{number}] reads or makes {odd}, which is not there, or not its steps'"
        if needed := sorted(_read_after(plan, chain) & inside - made):
            yield f"graphs[{number}] does not make {needed}, which later steps read"
        if unknown := sorted(name for name, _ in graph.variant if name not in known.axes):
            yield f"graphs[{number}] is for {unknown}, which nothing decides"
        yield from (f"graphs[{number}]: {fault}" for fault in _graph(graph, FRAME, known))
        if graph.batches != (1,):
            yield f"graphs[{number}] is of the frame, so it runs one at a time"


def _made_before(plan: Plan, end: int) -> set[str]:
    made = {own.name for own in (*plan.inputs, *plan.states)}
    for step in plan.steps[:end]:
        match step:
            case Stage():
                made |= {name for name, _ in step.otherwise}
            case Tile():
                made |= set(step.outputs)
            case Stitch() | Sample():
                made.add(step.output)
    return made


def _read_after(plan: Plan, chain: Chain) -> set[str]:
    """Values that steps of a chain, for their decisions, or steps after it read."""
    found = set(plan.results)
    for number, step in enumerate(plan.steps[chain.first :], chain.first):
        if isinstance(step, Route):
            found |= {d.scores for d in step.decisions if d.scores and not _only_noted(d)}
        elif number < chain.end:
            continue
        elif isinstance(step, Stage):
            found |= {port.value for graph in step.graphs for port in graph.inputs}
            found |= {source for graph in step.graphs for _, source in graph.kept}
            found |= {other for _, other in step.otherwise if other is not None}
        elif isinstance(step, Tile):
            found |= set(step.inputs)
        else:
            found.add(step.input)
    return found


def _only_noted(decision: Decision) -> bool:
    """Whether a rule came with a measure that it does not read."""
    return isinstance(decision.rule, HostRule) and not decision.rule.measures


def _overlapping_chains(plan: Plan) -> Iterator[str]:
    end = 0
    for chain in plan.chains:
        if chain.first < end:
            yield "its chains overlap, or stand in another order than its steps"
        end = max(end, chain.end)


def _has(axis: Axis, value: object) -> bool:
    return any(_same(own, value) for own in axis.values)


def _same(one: object, other: object) -> bool:
    """Whether two choices are one: 1 is not True."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
