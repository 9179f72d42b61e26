"""How a program's values are held at run time, and for which frame size an export plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.interface import held_shape
from edgeflow.ir.plan import Port
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
