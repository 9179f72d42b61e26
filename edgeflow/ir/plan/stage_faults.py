"""What is wrong with the stages of a plan and their graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.interface import held_shape
from edgeflow.ir.plan.known import Known, asks, has, reads, writes
from edgeflow.ir.plan.plan import Port, Stage, StageGraph
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import MOST_ASSIGNMENTS, Condition, Variable, count_assignments

LARGEST_REGION = 1 << 36
"""Bytes of one region's tensor, as far as its size is fixed."""


def stage_faults(step: Stage, known: Known) -> Iterator[str]:
    """A stage's values, and its graphs against them and each other."""
    if step.regions != FRAME and step.regions not in known.tilings:
        yield f"{step.regions!r} is no tiling before it"
        return
    outputs = {name for name, _ in step.otherwise}
    if len(outputs) != len(step.otherwise):
        yield "it makes a value twice"
    yield from reads([other for _, other in step.otherwise if other is not None], step.regions, known)
    for number, graph in enumerate(step.graphs):
        made = {port.value for port in graph.outputs} | {name for name, _ in graph.kept}
        if odd := sorted(made - outputs):
            yield f"graphs[{number}] makes {odd}, which the stage does not"
        yield from asks(graph.select, step.regions, known)
        yield from (f"graphs[{number}]: {fault}" for fault in graph_faults(graph, step.regions, known))
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
    yield from writes([name for name, _ in step.otherwise], step.regions, known)


def graph_faults(
    graph: StageGraph, regions: str, known: Known, beside: frozenset[str] = frozenset()
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
        if name in known.axes and not has(known.axes[name], value):
            yield f"its variant says {name}={value!r}, which is no choice"
    variant = dict(graph.variant)
    yield from reads([p.value for p in graph.inputs if p.value not in beside], regions, known)
    yield from reads([source for _, source in graph.kept if source not in beside], regions, known)
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


def _port(port: Port, variant: Mapping[str, object], known: Known) -> Iterator[str]:
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


def _alike(name: str, other: str, known: Known, variant: Mapping[str, object] | None = None) -> Iterator[str]:
    """A value that takes another's place has to be of its shape."""
    one, two = known.values[name], known.values[other]
    if variant is not None:
        shapes = known.shape(name, variant), known.shape(other, variant)
        same = None in shapes or shapes[0] == shapes[1]
    else:
        same = bool({shape for _, shape in one.shapes} & {shape for _, shape in two.shapes})
    if one.image != two.image or one.regions != two.regions or not same:
        yield f"{other!r} cannot stand for {name!r}: it is of another shape, type or region"


def _overlaps(conditions: Sequence[Condition], known: Known) -> Iterator[str]:
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
