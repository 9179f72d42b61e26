"""What every engine of a bundle sees when the bundle runs on a clip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.export.plugins.bodies import runnable
from edgeflow.export.sample import film_calls
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import ExportError
from edgeflow.ir.interface import Interface
from edgeflow.ir.plan import Port, StageGraph
from edgeflow.ir.route import Axis, Choice, Variable
from edgeflow.runtime import Session
from edgeflow.runtime.stream.policy import Policy

Array = NDArray[Any]

ROWS = 16
"""Regions that an engine is calibrated with, drawn evenly from all that it saw."""

FORCED_CALLS = 4
"""Calls of the clip that are sent on a route which the model takes on none of them."""


@dataclass(frozen=True)
class Seen:
    """What one engine saw.

    Attributes:
        inputs: its inputs, in the graph's order.
        outputs: its outputs, images before rounding.
        rows: the inputs of each region that was drawn: arrays (1, ...).
        wanted: what the engine made of each: arrays (1, ...).
        sizes: of the frame's free dimensions.
        forced: the model took no region here of its own accord, it had to be overruled.
        pictures: names of the outputs that are images.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    rows: tuple[tuple[Array, ...], ...]
    wanted: tuple[tuple[Array, ...], ...]
    sizes: Mapping[str, int]
    forced: bool
    pictures: frozenset[str] = frozenset()


@dataclass
class _Drawn:
    """What an engine reads and writes for some regions, drawn evenly (reservoir sampling)."""

    seen: int = 0
    kept: list[tuple[tuple[Array, ...], tuple[Array, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(0)

    def add(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Look at the regions of one run."""
        for row in range(len(inputs[0])):
            place = self.seen if self.seen < ROWS else self._random.randrange(self.seen + 1)
            self.seen += 1
            if place < ROWS:
                one = slice(row, row + 1)
                pair = tuple(a[one].copy() for a in inputs), tuple(a[one].copy() for a in outputs)
                self.kept[place : place + 1] = [pair]


@dataclass
class _Forced(Policy):
    """The model's own decisions, but for the variables of `route`."""

    route: Mapping[str, Choice] = field(default_factory=dict)

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Routes come from the plan itself: nothing to refuse."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The forced value's index, or the model's own decision."""
        if variable.name not in self.route:
            return own
        return np.full_like(own, variable.axis.index(self.route[variable.name]))


def watch(
    bundle: Bundle,
    frames: Sequence[NDArray[np.uint8]],
    graphs: Collection[str],
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Seen]:
    """Run an fp32 bundle on a clip and keep what some of its engines saw.

    An engine that the model's own routes never reach is reached by overruling the model on
    the first calls. One that cannot be reached at all is left out.

    Args:
        bundle: at fp32.
        frames: of the clip, (h, w, 3) uint8 each.
        graphs: whose engines to watch.
        progress: told what is being run.

    Raises:
        ExportError: the model takes something else than images, or the clip is too small or short.
    """
    found: dict[str, Seen] = {}
    with runnable(bundle) as copy:
        for kind, plan in bundle.manifest.plans.items():
            wanted = {g.graph for stage in plan.stages for g in stage.graphs} & set(graphs) - set(found)
            if wanted:
                progress(f"calibrate {kind}")
                found |= _watch_plan(copy, calls_on(bundle, kind, frames), wanted)
    return found


def _watch_plan(bundle: Bundle, calls: Sequence[Sequence[Array]], graphs: set[str]) -> dict[str, Seen]:
    policy = _Forced()
    drawn: dict[str, _Drawn] = {}

    def look(graph: StageGraph, read: Sequence[Array], written: Sequence[Array]) -> None:
        if graph.key in drawn:
            drawn[graph.key].add(read, written)

    session = Session(bundle, policy=policy, library="onnxruntime", exact=True, watch=look)
    height, width = calls[0][0].shape[-3:-1]
    session.prepare(height, width)
    assert session.executor is not None
    every = {graph.graph.graph: graph for graph in session.executor.loaded.values()}
    loaded = {name: graph for name, graph in every.items() if name in graphs}
    found = {name: _Drawn() for name in loaded}
    drawn.update((graph.graph.key, found[name]) for name, graph in loaded.items())
    for call in calls:
        session.run(*call)
    own = {name for name in loaded if found[name].kept}
    for name in own:
        del drawn[loaded[name].graph.key]  # what overruled runs bring is not what it sees
    for name, graph in loaded.items():
        if not found[name].kept:
            policy.route = dict(graph.graph.variant)
            session.reset()
            for call in calls[:FORCED_CALLS]:
                session.run(*call)
    return {
        name: Seen(
            graph.graph.inputs,
            graph.outputs,
            tuple(read for read, _ in found[name].kept),
            tuple(made for _, made in found[name].kept),
            {"height": height, "width": width},
            name not in own,
            frozenset(port.tensor for port in graph.graph.exact),
        )
        for name, graph in loaded.items()
        if found[name].kept
    }


def check_clip(frames: Sequence[NDArray[np.uint8]], sizes: Iterable[tuple[int, int]]) -> None:
    """Refuse a clip that is smaller than the frames that a bundle will be for, before anything is made.

    Raises:
        ExportError: it is.
    """
    for size in sizes:
        if any(given < wanted for given, wanted in zip(frames[0].shape, size, strict=False)):
            raise _unfit(frames, 1, size)


def calls_on(bundle: Bundle, kind: str, frames: Sequence[NDArray[np.uint8]]) -> Sequence[Sequence[Array]]:
    """Successive calls of a plan on a clip, turned where the plan is for frames of the other orientation.

    Raises:
        ExportError: the clip is too small or too short, or an input is no image.
    """
    plan, task = bundle.manifest.plans[kind], bundle.manifest.task
    images = plan.inputs[: len(plan.inputs) - task.timed]  # a time comes with each call
    for spec in images:
        if not spec.image:
            raise ExportError(
                f"int8 is calibrated with a clip, and the input {spec.name} is no image: export at fp32"
            )
    high = frames[0].shape[0] > frames[0].shape[1]
    turned = kind in ("landscape", "portrait") and high != (kind == "portrait")
    clip = [np.ascontiguousarray(np.rot90(frame)) for frame in frames] if turned else list(frames)
    height, width = clip[0].shape[:2]
    least = (max(_fixed(spec)[0] for spec in images), max(_fixed(spec)[1] for spec in images))
    calls: list[tuple[Array, ...]] = []
    if height >= least[0] and width >= least[1]:
        calls = film_calls(plan.inputs, task, clip)
    if not calls:
        raise _unfit(clip, 1 + task.between, least)
    return calls


def _unfit(clip: Sequence[NDArray[np.uint8]], count: int, least: tuple[int, int]) -> ExportError:
    """A clip that int8 cannot be calibrated with."""
    height, width = clip[0].shape[:2]
    cure = "longer" if height >= least[0] and width >= least[1] else "larger"
    return ExportError(
        f"the clip gave {len(clip)} frames of {width}x{height}, and int8 is calibrated with "
        f"{count} or more of at least {least[1]}x{least[0]}: give a {cure} one"
    )


def _fixed(spec: Interface) -> tuple[int, int]:
    """(height, width) of an image, 0 where free."""
    height, width = spec.shape[-2:]
    return (height if isinstance(height, int) else 0, width if isinstance(width, int) else 0)
