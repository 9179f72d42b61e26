"""Golden vectors: what the eager flow says of every graph, kept in the bundle.

With them an engine can be checked on a device that has no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeflow.export.drafts import Link, Variant
from edgeflow.export.lowering.link import EXACT
from edgeflow.export.pack.recording import Memory, Recording
from edgeflow.export.pack.region_mixing import check_apart
from edgeflow.export.pack.steadiness import check_steady
from edgeflow.flow.eager import Eager, EagerValue
from edgeflow.flow.flow import leaves
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.segments import find_segment
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle.golden import sampled
from edgeflow.ir.errors import ExportError
from edgeflow.ir.program import FRAME, Call, Program
from edgeflow.ir.route import Assignment, Choice, assignment, describe

Arrays = dict[str, NDArray[Any]]

NUDGE = 2.0**-23
"""One unit in the last place of a float32 between 1 and 2."""


@dataclass
class GoldenMaker:
    """Makes golden vectors of graphs from sample frames, with the eager segments.

    What a graph reads is taken from an eager run on the graph's route, rounded to float16; the segments
    are then run on exactly that. The frame before it fills the states. They are run again on inputs that differ in
    the last digit: an engine that adds up in another order cannot be held to less than they move by. Routes share
    what they have in common.

    Attributes:
        model: whose segments are run.
        program: its program.
        samples: inputs of two successive calls.
        routes: that cover every variant to be made, see `combined`; variants that none of these takes have a run of their own.
        checked: variants of segments that were found to be functions of their regions; programs share them.
    """

    model: RoutedModule
    program: Program
    samples: Sequence[Sequence[NDArray[Any]]]
    routes: Sequence[Assignment] = ()
    checked: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._memory = Memory()
        self._last, self._now = ([to_tensor(array) for array in call] for call in self.samples[:2])
        self._states: dict[str, torch.Tensor] | None = None
        self._runs: dict[Assignment, dict[str, EagerValue]] = {}

    @torch.no_grad()
    def of(self, variant: Variant) -> Arrays:
        """Arrays `in.NAME` (one region), `out.NAME` (elements that `sampled` takes), `moved.NAME` (a number).

        Raises:
            ExportError: a segment makes what is not finite, or regions influence one another.
        """
        recorded = self._record(variant.variant)
        shared = self._memory if len(self.routes) > 1 else Memory()  # else nothing is run twice
        arrays: Arrays = {}
        values: dict[str, torch.Tensor] = {}
        for name in variant.inputs:
            tensor = _region(recorded[name], variant)
            image = self.program.value(name).image
            arrays[f"in.{name}"] = array = _to_image(tensor) if image else tensor.half().numpy()
            values[name] = shared.once("rounded", [tensor], lambda a=array: _read(a))  # type: ignore[misc]
        nudged = {n: shared.once("nudged", [x], lambda x=x: nudge(x)) for n, x in values.items()}  # type: ignore[misc]
        self._run(variant, values, self._checked_run, shared)
        self._run(variant, nudged, self._plain_run, shared)
        for name, source in variant.outputs:
            exact = values[source]
            if not exact.isfinite().all():
                segments = ", ".join(dict.fromkeys(part.call.segment for part in variant.links))
                raise ExportError(
                    f"{segments} makes values that are not finite in {name} (NaN or infinity): check its weights, and "
                    "divisions, logarithms and roots in it"
                )
            arrays[f"moved.{name}"] = np.array(float((nudged[source] - exact).abs().max()))
            if self.program.value(source).image:
                arrays[f"out.{name}{EXACT}"] = sampled(exact.numpy())
                arrays[f"out.{name}"] = sampled(_to_image(exact))
            else:
                arrays[f"out.{name}"] = sampled(exact.numpy())
        return arrays

    def _run(
        self,
        variant: Variant,
        values: dict[str, torch.Tensor],
        call: Callable[[Link, Sequence[torch.Tensor]], tuple[torch.Tensor, ...]],
        memory: Memory,
    ) -> None:
        """Run a variant's segments, adding what they make to `values` (by name, (1, ...) each), unless it is known."""
        for part in variant.links:
            inputs = [values[name] for name in part.call.inputs]
            made = memory.once(_what(part), inputs, lambda p=part, i=inputs: call(p, i))  # type: ignore[misc]
            values.update(zip(part.call.outputs, made, strict=True))

    def _checked_run(self, part: Link, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """What a segment makes; one that is no function of its region alone is refused, each variant once."""
        what = (_what(part), tuple(tensor.shape for tensor in inputs))
        if what in self.checked:
            return self._plain_run(part, inputs)
        run = caller(self.model, part)
        made = check_steady(run, self.model, inputs, f"segment {part.call.segment}")
        if part.call.regions != FRAME:
            check_apart(run, inputs, f"segment {part.call.segment}")
        self.checked.add(what)
        return made

    def _plain_run(self, part: Link, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """What a segment makes; inputs are others' too, so it has copies to write into."""
        return leaves(caller(self.model, part)(*(tensor.clone() for tensor in inputs)))

    def _record(self, variant: Assignment) -> dict[str, EagerValue]:
        """Every value that the eager flow makes on a route that takes this variant, each made when it is read."""
        route = next((route for route in self.routes if set(variant) <= set(route)), variant)
        if route not in self._runs:
            run = Recording(self._memory, self.model, dict(route), self._states_before())
            self.model.flow(run, *(EagerValue(FRAME, [tensor]) for tensor in self._now))
            calls = [op for op in self.program.operations if isinstance(op, Call)]
            found: dict[str, EagerValue] = {}
            for call, (read, made) in zip(calls, run.calls, strict=True):
                if len(read) == len(call.inputs) and len(made) == len(call.outputs):  # else it did not run
                    found.update(zip(call.inputs, read, strict=True))
                    found.update(zip(call.outputs, made, strict=True))
            self._runs[route] = found
        return self._runs[route]

    def _states_before(self) -> dict[str, torch.Tensor]:
        """The states that the frame before leaves, if the program has any."""
        if self._states is None:
            before = Eager(self.model)
            if self.program.states:
                before(*self._last)
            self._states = before.states
        return self._states


def combined(variants: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """Few routes of which every one takes many of these variants: decisions of different layers are made together.

    >>> combined([(("a", 1),), (("a", 2),), (("b", 1),), (("b", 2),)])
    ((('a', 1), ('b', 1)), (('a', 2), ('b', 2)))
    """
    routes: list[dict[str, Choice]] = []
    for variant in variants:
        fitting = (
            route for route in routes if all(route.get(name, value) == value for name, value in variant)
        )
        route = next(fitting, None)
        if route is None:
            route = {}
            routes.append(route)
        route.update(variant)
    return tuple(map(assignment, routes))


def _what(part: Link) -> Hashable:
    """A variant of a segment."""
    return "alone", part.call.segment, part.variant, part.call.axes, repr(part.call.constants)


def _read(array: NDArray[Any]) -> torch.Tensor:
    """What segments read of a golden input (1, ...)."""
    return to_tensor(array[0]) if array.dtype == np.uint8 else torch.from_numpy(array).float()


def caller(model: RoutedModule, part: Link) -> Callable[..., Any]:
    """One variant of a segment, as a function of tensors."""
    chosen = dict(part.variant)
    keywords = {**{k: chosen[v] for k, v in part.call.axes}, **dict(part.call.constants)}
    return partial(find_segment(model, part.call.segment), **keywords)


def nudge(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with every element off by about half a unit in the last place, up or down."""
    up = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(4)) < 0.5
    return tensor * torch.where(up, 1 + NUDGE, 1 - NUDGE).to(tensor)


def golden_clip(model: RoutedModule, calls: Sequence[Sequence[NDArray[Any]]]) -> Arrays:
    """Whole frames: `CALL.in.I`, `CALL.out.I` (sampled, before rounding), `CALL.route.VARIABLE` (indices).

    Beside them, of inputs that differ in the last digit: by how much outputs move, `CALL.moved.I`, and how many
    decisions change, `CALL.flips.VARIABLE`.
    """
    eager, beside = Eager(model), Eager(model)
    arrays: Arrays = {}
    for number, inputs in enumerate(calls):
        tensors = [to_tensor(array) for array in inputs]
        result, nudged = eager(*tensors), beside(*map(nudge, tensors))
        for i, array in enumerate(inputs):
            arrays[f"{number}.in.{i}"] = array
        for i, output in enumerate(result.outputs):
            arrays[f"{number}.out.{i}"] = sampled(output[0].numpy())
            arrays[f"{number}.moved.{i}"] = np.array(float((nudged.outputs[i] - output).abs().max()))
        for name, choices in result.routes.items():
            axis = model.axes[name.split(".")[0]]
            arrays[f"{number}.route.{name}"] = np.array([axis.index(c) for c in choices])
            changed = sum(a != b for a, b in zip(choices, nudged.routes[name], strict=True))
            arrays[f"{number}.flips.{name}"] = np.array(changed)
    return arrays


def _region(value: EagerValue, variant: Variant) -> torch.Tensor:
    tensor = value.tensors[len(value.tensors) // 2]
    if tensor is None:
        raise ExportError(
            f"no value was made for the route {describe(variant.variant)}; check its when= conditions"
        )
    return tensor


def _to_image(tensor: torch.Tensor) -> NDArray[np.uint8]:
    order = (0, 2, 3, 1) if tensor.ndim == 4 else (0, 1, 3, 4, 2)
    return (tensor.clamp(0, 1) * 255).round().to(torch.uint8).permute(order).numpy()
