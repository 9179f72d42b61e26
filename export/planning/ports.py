"""How a program's values are held at run time, and for which frame size an export plans."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.export.drafts import Variant
from edgeflow.export.lowering.link import EXACT, MEAN
from edgeflow.ir.interface import held_shape
from edgeflow.ir.plan import Port, StageGraph
from edgeflow.ir.program import Program, Value

PLANNED_SIZE = (720, 1280)
"""(height, width) of the frames that are planned for if nothing says which will come."""


def planned_size(program: Program, frames: Sequence[NDArray[np.uint8]]) -> tuple[int, int]:
    """(height, width) to plan for: as the program fixes it, as the clip's, or 720p."""
    for bound in program.inputs:
        height, width = bound.shape[-2:] if bound.image else ("", "")
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    size = frames[0].shape[:2] if frames else PLANNED_SIZE
    long, short = max(size), min(size)
    return (long, short) if program.frame == "portrait" else (short, long)


def port_of(value: Value, name: str, route: dict[str, Any]) -> Port:
    """How a value is held at run time, under a name in a graph: images as uint8, channels last."""
    shape = value.shape(route)
    if value.image:
        return Port(name, name, held_shape(shape), "uint8")
    return Port(name, name, shape, "float32")


def sized_ports(program: Program, size: tuple[int, int]) -> Callable[[str, Mapping[str, Any]], Port]:
    """How a program's values are held in frames (height, width), by name and route: all dimensions known."""
    dims = {"height": size[0], "width": size[1]}

    def port(name: str, values: Mapping[str, Any]) -> Port:
        found = port_of(program.value(name), name, dict(values))
        return replace(found, shape=tuple(dims[d] if isinstance(d, str) else d for d in found.shape))

    return port


def stage_graph(
    program: Program, variant: Variant, name: str, flops: int, batches: tuple[int, ...]
) -> StageGraph:
    """What a plan says of a variant's graph, of that name.

    Args:
        program: whose variant it is.
        variant: of a stage.
        name: id of the graph.
        flops: of one region.
        batches: static batch sizes.
    """
    values = dict(variant.variant)
    inputs = tuple(port_of(program.value(name), name, values) for name in variant.inputs)
    outputs = tuple(port_of(program.value(source), name, values) for name, source in variant.outputs)
    exact = tuple(
        Port(port.value, port.tensor + EXACT, _float_shape(port.shape), "float32")
        for port in outputs
        if port.dtype == "uint8"
    )
    means = tuple(Port(p.value, p.tensor + MEAN, (), "float32") for p in outputs if p.dtype == "uint8")
    made = inputs, outputs, exact, variant.kept
    graph = StageGraph(variant.select, variant.variant, name, flops, batches, "", *made, means=means)
    return replace(graph, golden=f"golden/{hashlib.sha256(graph.key.encode()).hexdigest()[:16]}.npz")


def _float_shape(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return (shape[-1], *shape[:-1])
