"""What a plan's parts have to do with each other: every rule that the runtime relies on, and where it is broken.

The fields themselves were checked before (`edgeflow.ir.bundle.manifest_schema`). A plan without faults runs: every name is known, every shape
is its value's, every region's variables are decided before they are read, and no two engines of a stage want the same region.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.interface import Clip
from edgeflow.ir.plan.chain_faults import chain_faults, overlapping_chains
from edgeflow.ir.plan.decision_faults import route_faults
from edgeflow.ir.plan.known import Known, asks, reads, writes
from edgeflow.ir.plan.plan import Plan, Stage
from edgeflow.ir.plan.stage_faults import stage_faults
from edgeflow.ir.program import FRAME, Keep, Route, Sample, Stitch, Tile, Value


def plan_faults(plan: Plan, where: str) -> Iterator[str]:
    """Every fault of a plan whose fields are good.

    Args:
        plan: to look at.
        where: its place, for messages.
    """
    known = Known({value.name: value for value in plan.values}, set())
    yield from (f"{where}: {fault}" for fault in _value_faults(plan, known))
    for number, step in enumerate(plan.steps):
        place = f"{where}.steps[{number}]"
        match step:
            case Tile():
                found = _tile(step, known)
            case Route():
                found = route_faults(step, plan, known)
            case Stage():
                found = stage_faults(step, known)
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
        yield from (f"{where}.chains[{number}]: {fault}" for fault in chain_faults(chain, plan, known))
    yield from (f"{where}: {fault}" for fault in overlapping_chains(plan))
    yield from (f"{where}: {fault}" for fault in _results(plan, known))


def _value_faults(plan: Plan, known: Known) -> Iterator[str]:
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


def _results(plan: Plan, known: Known) -> Iterator[str]:
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


def _tile(step: Tile, known: Known) -> Iterator[str]:
    yield from reads(step.inputs, FRAME, known)
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
    yield from writes(step.outputs, step.regions, known)


def _cut_of(source: Value, made: Value, step: Tile) -> bool:
    """Whether a value may be what a tiling makes of another: tiles, or what has no height and width as it is."""
    (_, whole), *_ = source.shapes
    (_, cut), *_ = made.shapes
    return cut == (whole[0], step.size, step.size) if len(whole) == 3 else len(whole) == 1 and cut == whole


def _stitch(step: Stitch, known: Known) -> Iterator[str]:
    tiling = known.tilings.get(step.regions)
    if tiling is None:
        yield f"{step.regions!r} is no tiling before it"
        return
    yield from reads([step.input], step.regions, known)
    if step.input in known.values:
        for _, shape in known.values[step.input].shapes:
            sides = shape[-2:]
            square = len(shape) == 3 and len(set(sides)) == 1 and isinstance(sides[0], int)
            if not square or int(sides[0]) % tiling.size:
                yield f"{step.input!r} of shape {shape} are no tiles of {tiling.size}"
    yield from writes([step.output], FRAME, known)


def _keep(step: Keep, plan: Plan, known: Known) -> Iterator[str]:
    state = next((state for state in plan.states if state.name == step.state), None)
    if state is None:
        yield f"there is no state {step.state!r}"
        return
    yield from reads([step.input], state.regions, known)
    yield from asks(step.when, state.regions, known)
    if step.input in known.values:
        value = known.values[step.input]
        if value.image != state.image or any(shape != tuple(state.shape) for _, shape in value.shapes):
            yield f"{step.input!r} cannot be kept in {step.state!r}: it is of another shape or type"


def _sample(step: Sample, plan: Plan, known: Known) -> Iterator[str]:
    if step.input not in {spec.name for spec in plan.inputs if isinstance(spec, Clip) or len(spec.shape) > 1}:
        yield f"{step.input!r} is no input that can be sampled"
    axis = known.axes.get(step.variable)
    if axis is None or known.owners[step.variable] != FRAME:
        yield f"{step.variable!r} is not decided for the frame before it"
    elif not all(type(value) is int and 1 <= value <= 4096 for value in axis.values):
        yield f"{step.variable!r} counts entries, so its choices are whole numbers from 1 to 4096"
    yield from reads([step.input], FRAME, known)
    yield from writes([step.output], FRAME, known)
