"""Whether a frame's tensors fit this machine's memory, before any of them is made."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from pathlib import Path

from edgeflow.ir.errors import InputError
from edgeflow.ir.interface import held_shape
from edgeflow.ir.plan import Plan, Stage
from edgeflow.ir.program import Tile, region_counts
from edgeflow.runtime.stream.loading import dims_of, row_bytes, sizes_of

MOST_REGIONS = 1 << 16
"""Tiles of a frame; one of 8K in tiles of 64 pixels has 12,000."""

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def check_room(plan: Plan, size: tuple[int, int]) -> None:
    """Refuse a frame size whose tensors cannot all be in memory.

    Args:
        plan: to be executed.
        size: (height, width) of the frames.

    Raises:
        InputError: says what is needed, what there is, and what would fit.
    """
    counts = region_counts(plan.steps, size)
    most = max(counts.values())
    if most > MOST_REGIONS:
        raise InputError(
            f"a frame of {size[1]}x{size[0]} would be cut into {most} tiles, at most {MOST_REGIONS} are: use smaller frames"
        )
    needed, there = bytes_needed(plan, size, counts), available_bytes()
    if needed > there:
        raise InputError(no_room(size, needed, there))


def no_room_now(plan: Plan, size: tuple[int, int]) -> str:
    """What to say of a frame (height, width) for which memory ran out on the way."""
    return no_room(size, bytes_needed(plan, size, region_counts(plan.steps, size)), available_bytes())


def no_room(size: tuple[int, int], needed: int, there: int) -> str:
    """What to say of a frame (height, width) that does not fit."""
    share = sqrt(min(there / max(needed, 1), 0.5))
    fits = (max(int(side * share) // 16 * 16, 16) for side in reversed(size))
    return (
        f"a frame of {size[1]}x{size[0]} needs {needed / 1e9:.1f} GB of tensors beside the engines, and {there / 1e9:.1f} GB "
        f"are free: frames of about {'x'.join(map(str, fits))} would fit; resize them, or free memory"
    )


def bytes_needed(plan: Plan, size: tuple[int, int], counts: Mapping[str, int]) -> int:
    """Bytes of the tensors that one frame makes and keeps, without what engines hold inside.

    Args:
        plan: to be executed.
        size: (height, width) of the frames.
        counts: regions of each region set.
    """
    dims = dims_of(size)
    states = 0
    for state in plan.states:
        shape = held_shape(state.shape) if state.image else state.shape
        states += 2 * counts[state.regions] * prod(sizes_of(shape, dims)) * (1 if state.image else 4)
    tiles = sum(
        counts[step.regions] * step.size**2 * 3 * len(step.outputs)
        for step in plan.steps
        if isinstance(step, Tile)
    )
    return (
        states
        + tiles
        + sum(_stage_bytes(step, dims, counts) for step in plan.steps if isinstance(step, Stage))
    )


def _stage_bytes(stage: Stage, dims: Mapping[str, int], counts: Mapping[str, int]) -> int:
    """Bytes of what a stage writes, if all regions take the graph that writes most."""
    known = {"frames": 1, **dims}
    return counts[stage.regions] * max(
        sum(
            row_bytes(
                tuple(known.get(d, 1) if isinstance(d, str) else d for d in port.shape), port.dtype, dims
            )
            for port in graph.outputs
        )
        for graph in stage.graphs
    )


def available_bytes() -> int:
    """Memory that this process may still take: the machine's free memory and swap, or what its container is allowed."""
    found = 1 << 60
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found = sum(int(lines[name].split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        pass  # not Linux: the system itself says when it has none
    try:
        return min(found, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # "max"
        return found
