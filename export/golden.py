"""Golden vectors: what the eager flow says of every graph, kept in the bundle.

With them an engine can be checked on a device that has no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeflow.export.link import EXACT
from edgeflow.export.plan import Link, Variant
from edgeflow.export.region_mixing import check_apart
from edgeflow.export.steadiness import check_steady
from edgeflow.flow.eager import Eager, EagerFlow, EagerValue
from edgeflow.flow.flow import leaves
from edgeflow.flow.module import RoutedModule, find_segment
from edgeflow.ir.errors import ExportError
from edgeflow.ir.golden import sampled
from edgeflow.ir.program import FRAME, Call, Program
from edgeflow.ir.route import NEVER, Assignment, Condition, describe

Arrays = dict[str, NDArray[Any]]

NUDGE = 2.0**-23
"""One unit in the last place of a float32 between 1 and 2."""


class _Recording(EagerFlow):
    """Keeps what every call read and made, in order."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls: list[tuple[tuple[EagerValue, ...], tuple[EagerValue, ...]]] = []

    def _call(self, segment: Any, inputs: tuple[EagerValue, ...], when: Condition, *rest: Any) -> Any:
        made = super()._call(segment, inputs, when, *rest)
        if when != NEVER:  # such a call is not part of the program
            self.calls.append((inputs, leaves(made)))
        return made


@dataclass
class GoldenMaker:
    """Makes golden vectors of graphs from sample frames, with the eager segments.

    What a graph reads is taken from an eager run on the graph's route, rounded to float16; the segments
    are then run on exactly that. The frame before it fills the states. They are run again on inputs that differ in
    the last digit: an engine that adds up in another order cannot be held to less than they move by.

    Attributes:
        model: whose segments are run.
        program: its program.
        samples: inputs of two successive calls.
    """

    model: RoutedModule
    program: Program
    samples: Sequence[Sequence[NDArray[Any]]]

    def __post_init__(self) -> None:
        self._runs: dict[Assignment, dict[str, EagerValue]] = {}
        self._checked: set[Any] = set()

    def of(self, variant: Variant) -> Arrays:
        """Arrays `in.NAME` (one region), `out.NAME` (elements that `sampled` takes), `moved.NAME` (a number).

        Raises:
            ExportError: a segment makes what is not finite, or regions influence one another.
        """
        recorded = self._record(variant.variant)
        arrays: Arrays = {}
        values: dict[str, torch.Tensor] = {}
        for name in variant.inputs:
            tensor = _region(recorded[name], variant)
            if self.program.value(name).image:
                arrays[f"in.{name}"] = _to_image(tensor)
                values[name] = to_tensor(arrays[f"in.{name}"][0])
            else:
                arrays[f"in.{name}"] = tensor.half().numpy()
                values[name] = tensor.half().float()
        nudged = {name: nudge(tensor) for name, tensor in values.items()}
        self._run(variant, values)
        run_links(self.model, variant, nudged)
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

    @torch.no_grad()
    def _run(self, variant: Variant, values: dict[str, torch.Tensor]) -> None:
        """As `run_links`; a segment that is no function of its region alone is refused, each variant once."""
        for part in variant.links:
            run = caller(self.model, part)
            inputs = [values[name] for name in part.call.inputs]
            key = (part.call.segment, part.variant, part.call.axes, part.call.constants)
            if key in self._checked:
                made = leaves(run(*inputs))
            else:
                made = check_steady(run, self.model, inputs, f"segment {part.call.segment}")
                if part.call.regions != FRAME:
                    check_apart(run, inputs, f"segment {part.call.segment}")
                self._checked.add(key)
            values.update(zip(part.call.outputs, made, strict=True))

    def _record(self, route: Assignment) -> dict[str, EagerValue]:
        """Every value that the eager flow makes on this route."""
        if route not in self._runs:
            before, eager = Eager(self.model), Eager(self.model, dict(route), _Recording)
            last, now = ([to_tensor(array) for array in call] for call in self.samples[:2])
            if self.program.states:
                before(*last)
                eager.states = before.states
            eager(*now)
            assert isinstance(eager.last, _Recording)
            calls = [op for op in self.program.operations if isinstance(op, Call)]
            found: dict[str, EagerValue] = {}
            for call, (read, made) in zip(calls, eager.last.calls, strict=True):
                if len(read) == len(call.inputs) and len(made) == len(call.outputs):  # else it did not run
                    found.update(zip(call.inputs, read, strict=True))
                    found.update(zip(call.outputs, made, strict=True))
            self._runs[route] = found
        return self._runs[route]


@torch.no_grad()
def run_links(model: RoutedModule, variant: Variant, values: dict[str, torch.Tensor]) -> None:
    """Run a variant's segments eagerly, adding what they make to `values` (by name, (n, ...) each)."""
    for part in variant.links:
        made = leaves(caller(model, part)(*(values[name] for name in part.call.inputs)))
        values.update(zip(part.call.outputs, made, strict=True))


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


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """What the model sees of a run-time input: images (h, w, 3) uint8 -> (1, 3, h, w) in [0, 1]."""
    if array.dtype == np.uint8:
        return torch.from_numpy(array.copy()).permute(2, 0, 1).float().unsqueeze(0) / 255
    return torch.from_numpy(array.copy()).unsqueeze(0)


def _region(value: EagerValue, variant: Variant) -> torch.Tensor:
    tensor = value.tensors[len(value.tensors) // 2]
    if tensor is None:
        raise ExportError(
            f"no value was made for the route {describe(variant.variant)}; check its when= conditions"
        )
    return tensor


def _to_image(tensor: torch.Tensor) -> NDArray[np.uint8]:
    return (tensor.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
