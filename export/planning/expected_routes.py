"""What routes to expect: those that a clip takes, or all alike."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from edgeflow.export.sample import film_calls
from edgeflow.flow.eager import Eager, EagerResult
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.program import FRAME, Call, Program, Route
from edgeflow.ir.route import Assignment, assignment

CLIP_FRAMES = 6
"""Calls of a clip whose routes are taken to stand for all."""
UNIFORM_FRAMES = 16
"""Frames that an assumed mix is spread over."""


@dataclass(frozen=True)
class ExpectedRoutes:
    """What routes the regions of some frames took.

    Attributes:
        frames: per frame, per region set, how many regions took each route.
        source: where that is from, for people.
    """

    frames: tuple[Mapping[str, Mapping[Assignment, int]], ...]
    source: str


def of_clip(model: RoutedModule, program: Program, frames: Sequence[NDArray[np.uint8]]) -> ExpectedRoutes:
    """The routes that the eager flow takes on calls spread evenly over a clip, or, if it keeps states, on the first ones.

    Args:
        model: runs eagerly.
        program: whose inputs are images, no larger than the frames.
        frames: of the clip (h, w, 3) uint8, cropped where the program fixes a size.
    """
    calls = film_calls(program.inputs, program.task, frames)
    last = len(calls) - 1
    chosen = np.unique(
        np.linspace(0, min(last, CLIP_FRAMES - 1) if program.states else last, CLIP_FRAMES).astype(int)
    )
    eager, found = Eager(model), []
    for number in chosen:
        result = eager(*map(to_tensor, calls[number]))
        found.append(_routes(program, result))
    return ExpectedRoutes(tuple(found), f"{len(found)} frames of the clip")


def _routes(program: Program, result: EagerResult) -> dict[str, Mapping[Assignment, int]]:
    """Per region set, how many regions took each route; decisions on the frame hold for all its tiles."""
    owners = {
        decision.variable.name: step.regions
        for step in program.operations
        if isinstance(step, Route)
        for decision in step.decisions
    }
    counted: dict[str, Mapping[Assignment, int]] = {}
    for regions in {op.regions for op in program.operations if isinstance(op, Call)}:
        count = 1 if regions == FRAME else len(result.grids[regions])
        counted[regions] = Counter(
            assignment(
                {
                    name: result.routes[name][region if owner == regions else 0]
                    for name, owner in owners.items()
                    if owner in (regions, FRAME)
                }
            )
            for region in range(count)
        )
    return counted


def uniform(program: Program, regions: Mapping[str, int]) -> ExpectedRoutes:
    """Every route about alike, where nothing is known of them; key frames as often as their interval says.

    Args:
        program: whose routes they are.
        regions: how many regions each region set has.

    Source: Kronecker sequences, whose points lie evenly in any number of dimensions.
    """
    upto = _shares(program)
    steps = [prime**0.5 % 1 for prime in _primes(len(program.variables))]
    frames: list[dict[str, Mapping[Assignment, int]]] = [{} for _ in range(UNIFORM_FRAMES)]
    for name, count in regions.items():
        for number, frame in enumerate(frames):
            routes: Counter[Assignment] = Counter()
            for region in range(number * count, (number + 1) * count):
                chosen = {
                    variable.name: variable.axis.values[
                        bisect(upto[variable.name], (region + 0.5) * step % 1)
                    ]
                    for variable, step in zip(program.variables, steps, strict=True)
                }
                routes[assignment(chosen)] += 1
            frame[name] = routes
    return ExpectedRoutes(tuple(frames), "every route alike")


def _shares(program: Program) -> dict[str, list[float]]:
    """Per variable, up to which share of the regions each of its values but the last is taken."""
    shares = {}
    for step in program.operations:
        for decision in step.decisions if isinstance(step, Route) else ():
            each = decision.rule.shares(decision.variable.axis)
            shares[decision.variable.name] = list(accumulate(each))[:-1]
    return shares


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found
