"""Drafts an export's plans and prices their engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeflow.export.drafts import Link, PlanDraft, StageDraft, Variant, plan
from edgeflow.export.lowering.graphs import Lowering
from edgeflow.export.lowering.trials import faster_form
from edgeflow.export.planning.cuts import Pricing, choose, counts
from edgeflow.export.planning.mix import Mix, of_clip, region_counts, uniform
from edgeflow.export.planning.prices import Pricer
from edgeflow.export.plugins.kernels import KernelDraft, kernel_of
from edgeflow.flow import cost
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.costs import Costs, Device
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port, StageGraph
from edgeflow.ir.program import Call, Program, Value
from edgeflow.ir.route import Assignment
from edgeflow.runtime.backends import Backend, open_backend
from edgeflow.runtime.machine import cpu_name
from edgeflow.targets import Target

PLANNED_SIZE = (720, 1280)
"""(height, width) of the frames that are planned for if nothing says which will come."""


@dataclass
class Planner:
    """Drafts plans and prices their engines; keeps what it decided and what it timed."""

    model: RoutedModule
    lowering: Lowering
    target: Target
    frames: Sequence[NDArray[np.uint8]]
    expected: Mix | None
    decisions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._backend = self._open_backend() if self.frames else None
        self._pricers: dict[str, Pricer] = {}
        self._mixes: dict[str, Mix] = {}
        self._ms: dict[str, Mapping[int, float]] = {}

    @property
    def costs(self) -> Costs:
        """What was timed, by the key of the plan's graph."""
        backend = self._backend
        known = (backend.threads, backend.name, backend.version) if backend else (0, "", "")
        return Costs(Device(cpu_name(), *known, self.target.precision), self._ms)

    def draft(self, program: Program, strategy: str) -> PlanDraft:
        """A plan of the program's calls."""
        if strategy != "auto":
            return plan(program, strategy)
        mix = self._mixes[program.frame] = self._mix(program)
        pricer = self._pricer(program)
        pricing = Pricing(
            pricer.exact,
            pricer.bound,
            pricer.weight_bytes,
            pricer.again,
            lambda made: self._fuses(program, made),
        )
        starts, decisions = choose(program, mix, pricing, self.target.weight_budget)
        self.decisions[program.frame] = {
            "routes": mix.source,
            "prices": "runs timed on this machine" if self._backend else "the target's roofline",
            "runs": [decision.to_json(program) for decision in decisions],
        }
        return plan(program, strategy, starts)

    def _fuses(self, program: Program, made: StageDraft) -> bool:
        """Whether calls may be fused: at int8, not into engines that end in other tensors than images.

        Errors of several calls add up in these, so that layers stay in float that no price knows of.
        """
        images = {value.name for value in program.values if value.image}
        return self.target.precision != "int8" or all(name in images for name, _ in made.otherwise)

    def expected_regions(self, program: Program, draft: StageDraft) -> dict[Variant, float]:
        """Regions of a frame that each variant of a stage is expected to run for; nothing if no routes were planned for."""
        mix = self._mixes.get(program.frame)
        if mix is None:
            return {}
        frames = [frame[draft.regions] for frame in mix.frames]
        found = counts(draft, frames)
        return {variant: sum(found.get(variant, ())) / len(frames) for variant in draft.variants}

    def price(self, program: Program, variant: Variant, graph: StageGraph) -> StageGraph:
        """A graph of the plan with the batch sizes worth running, if engines can be timed."""
        if self._backend is None:
            return graph
        prices = self._pricer(program).exact(variant)
        self._ms[graph.key] = prices
        return replace(graph, batches=tuple(sorted(prices)))

    def faster_form(self, program: Program, part: Link, graph: onnx.ModelProto) -> onnx.ModelProto:
        """A lowered segment in the form that was timed to be the fastest, if engines can be timed."""
        if self._backend is None:
            return graph
        port, values = self._pricer(program).port, dict(part.variant)
        inputs = [replace(port(n, values), tensor=f"in.{i}") for i, n in enumerate(part.call.inputs)]
        outputs = [replace(port(n, values), tensor=f"out.{i}") for i, n in enumerate(part.call.outputs)]
        return faster_form(graph, inputs, outputs, self._backend, f"segment {part.call.segment}")

    def kernel(self, program: Program, variant: Variant) -> KernelDraft | None:
        """The kernel to run in place of a graph of the plan, unless it is timed to be slower."""
        pricer = self._pricer(program)
        if self._backend is not None:
            pricer.exact(variant)
        return pricer.kernel(variant)

    def _kernel_of(self, links: tuple[Link, ...]) -> KernelDraft | None:
        """Kernels run on processors, in single precision."""
        return kernel_of(self.model, links) if self.target.library in ("onnxruntime", "openvino") else None

    def _pricer(self, program: Program) -> Pricer:
        if program.frame not in self._pricers:
            height, width = self._size(program)
            dims = {"height": height, "width": width}

            def port(name: str, values: Mapping[str, Any]) -> Port:
                found = port_of(program.value(name), name, dict(values))
                sizes = (dims[d] if isinstance(d, str) else d for d in found.shape)
                return replace(found, shape=tuple(sizes))

            shared = next(iter(self._pricers.values()), None)
            self._pricers[program.frame] = Pricer(
                program,
                self.target,
                lambda part: self.lowering.graph(program, part),
                call_flops(self.model, program),
                port,
                self._backend,
                self._kernel_of,
                self.lowering.watch,
                *((shared.known, shared.slower) if shared else ()),
            )
        return self._pricers[program.frame]

    def _mix(self, program: Program) -> Mix:
        if self.expected:
            return self.expected
        if self._suits(program):
            return of_clip(self.model, program, self.frames)
        return uniform(program, region_counts(program, *self._size(program)))

    def _suits(self, program: Program) -> bool:
        """Whether the clip is what the program reads: enough frames, large enough, turned its way."""
        if len(self.frames) < len(program.inputs) or not all(spec.image for spec in program.inputs):
            return False
        height, width = self.frames[0].shape[:2]
        turned = {"landscape": width >= height, "portrait": height > width}.get(program.frame, True)
        sizes = [spec.shape[1:] for spec in program.inputs]
        fixed = [(h, w) for h, w in sizes if isinstance(h, int) and isinstance(w, int)]
        return turned and all(h <= height and w <= width for h, w in fixed)

    def _size(self, program: Program) -> tuple[int, int]:
        """(height, width) to plan for: as given, as the clip's, or 720p."""
        for bound in program.inputs:
            if bound.image and isinstance(bound.shape[1], int) and isinstance(bound.shape[2], int):
                return bound.shape[1], bound.shape[2]
        size = self.frames[0].shape[:2] if self.frames else PLANNED_SIZE
        long, short = max(size), min(size)
        return (long, short) if program.frame == "portrait" else (short, long)

    def _open_backend(self) -> Backend | None:
        try:
            return open_backend(self.target.library)
        except BackendError:
            return None


def call_flops(model: RoutedModule, program: Program) -> dict[tuple[str, Assignment], int]:
    """FLOPs of one region, by a call's first output and the variant."""
    size = {
        name: dim
        for spec, bound in zip(model.inputs, program.inputs, strict=True)
        for name, dim in zip(spec.shape, bound.shape, strict=True)
        if isinstance(name, str) and isinstance(dim, int)
    }
    calls = [operation for operation in program.operations if isinstance(operation, Call)]
    counted = cost(model, size or None).calls
    return {(calls[entry.call].outputs[0], entry.variant): entry.flops for entry in counted}


def port_of(value: Value, name: str, route: dict[str, Any]) -> Port:
    """How a value is held at run time, under a name in a graph: images as uint8 (height, width, 3)."""
    shape = value.shape(route)
    if value.image:
        return Port(name, name, (*shape[1:], shape[0]), "uint8")
    return Port(name, name, shape, "float32")
