"""Golden vectors: what the eager flow says of every graph, kept in the bundle.

With them an engine can be checked on a device that has no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeflow.export.link import EXACT
from edgeflow.export.plan import Variant
from edgeflow.flow.eager import Eager, EagerFlow, EagerValue
from edgeflow.flow.flow import leaves
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.errors import ExportError
from edgeflow.ir.golden import sampled
from edgeflow.ir.program import Call, Program
from edgeflow.ir.route import Assignment, describe

Arrays = dict[str, NDArray[Any]]


class _Recording(EagerFlow):
    """Keeps what every call read and made, in order."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls: list[tuple[tuple[EagerValue, ...], tuple[EagerValue, ...]]] = []

    def _call(self, segment: Any, inputs: tuple[EagerValue, ...], *rest: Any) -> Any:
        made = super()._call(segment, inputs, *rest)
        self.calls.append((inputs, leaves(made)))
        return made


@dataclass
class GoldenMaker:
    """Runs the eager flow on one sample, once per distinct route."""

    model: RoutedModule
    program: Program
    sample: Sequence[NDArray[Any]]

    def __post_init__(self) -> None:
        self._runs: dict[Assignment, dict[str, EagerValue]] = {}

    def of(self, variant: Variant) -> Arrays:
        """Arrays `in.NAME` (one region) and `out.NAME` (elements that `sampled` takes)."""
        values = self._values(variant.variant)
        arrays: Arrays = {}
        for name in variant.inputs:
            arrays[f"in.{name}"] = self._array(values, name, variant)
        for name, source in variant.outputs:
            exact = _region(values[source], variant)
            if self.program.value(source).image:
                self._store(arrays, name + EXACT, exact.numpy())
                self._store(arrays, name, _to_image(exact))
            else:
                self._store(arrays, name, exact.numpy())
        return arrays

    def _values(self, route: Assignment) -> dict[str, EagerValue]:
        if route not in self._runs:
            eager = Eager(self.model, dict(route), _Recording)
            eager(*(to_tensor(array) for array in self.sample))
            assert isinstance(eager.last, _Recording)
            calls = [op for op in self.program.operations if isinstance(op, Call)]
            found: dict[str, EagerValue] = {}
            for call, (read, made) in zip(calls, eager.last.calls, strict=True):
                found.update(zip(call.inputs, read, strict=True))
                found.update(zip(call.outputs, made, strict=True))
            self._runs[route] = found
        return self._runs[route]

    def _array(self, values: Mapping[str, EagerValue], name: str, variant: Variant) -> NDArray[Any]:
        tensor = _region(values[name], variant)
        return _to_image(tensor) if self.program.value(name).image else tensor.numpy()

    @staticmethod
    def _store(arrays: Arrays, name: str, array: NDArray[Any]) -> None:
        if not np.isfinite(array).all():
            raise ExportError(f"the model makes values that are not finite in {name}: check its weights")
        arrays[f"out.{name}"] = sampled(array)


def golden_clip(model: RoutedModule, calls: Sequence[Sequence[NDArray[Any]]]) -> Arrays:
    """Whole frames: `CALL.in.I`, `CALL.out.I` (float32, before rounding) and `CALL.route.VARIABLE` (indices)."""
    eager = Eager(model)
    arrays: Arrays = {}
    for number, inputs in enumerate(calls):
        result = eager(*(to_tensor(array) for array in inputs))
        for i, array in enumerate(inputs):
            arrays[f"{number}.in.{i}"] = array
        for i, output in enumerate(result.outputs):
            arrays[f"{number}.out.{i}"] = output[0].numpy()
        for name, choices in result.routes.items():
            axis = model.axes[name.split(".")[0]]
            arrays[f"{number}.route.{name}"] = np.array([axis.index(c) for c in choices])
    return arrays


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """What the model sees of a run-time input: images (h, w, 3) uint8 -> (1, 3, h, w) in [0, 1]."""
    if array.dtype == np.uint8:
        return torch.from_numpy(array.copy()).permute(2, 0, 1).float().unsqueeze(0) / 255
    return torch.from_numpy(array.copy()).unsqueeze(0)


def _region(value: EagerValue, variant: Variant) -> torch.Tensor:
    tensor = value.tensors[len(value.tensors) // 2]
    if tensor is None:
        raise ExportError(f"no value was made for the route {describe(variant.variant)}; check its when= conditions")
    return tensor


def _to_image(tensor: torch.Tensor) -> NDArray[np.uint8]:
    return (tensor.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
