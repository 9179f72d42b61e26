"""Drafts an export's plans and prices their engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeflow.export.drafts import Link, PlanDraft, StageDraft, Variant, plan
from edgeflow.export.lowering.graphs import Lowered
from edgeflow.export.lowering.link import link
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.planning.chains import chains_of
from edgeflow.export.planning.cuts import Pricing, choose, counts
from edgeflow.export.planning.expected_routes import ExpectedRoutes, of_clip, uniform
from edgeflow.export.planning.memory import Memory
from edgeflow.export.planning.ports import planned_size, sized_ports
from edgeflow.export.planning.priced import PricedPlan, PricedVariant
from edgeflow.export.planning.prices import Pricer
from edgeflow.export.plugins.kernels import kernel_of
from edgeflow.export.stopwatch import Stopwatch
from edgeflow.flow import cost
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.trace import FREE_SIZES
from edgeflow.ir.bundle.costs import Costs, Device
from edgeflow.ir.errors import BackendError
from edgeflow.ir.film import calls_of
from edgeflow.ir.libraries import library
from edgeflow.ir.program import FRAME, Call, Program, region_counts
from edgeflow.ir.route import Assignment
from edgeflow.runtime.backends import Backend, open_backend
from edgeflow.runtime.machine import cpu_name
from edgeflow.targets import Target


@dataclass(frozen=True)
class Planner:
    """Drafts the plans of a model's programs and prices their engines.

    Attributes:
        model: whose programs they are.
        lowered: graphs of all its segments.
        target: that it is compiled for.
        frames: of a clip; may be none.
        expected: the routes to plan for, if not those of the frames.
        backend: times engines; None to go by the target's roofline.
        watch: told what the timing took.
        memory: bytes that frames may take; None for the target's, as far as that can be held.
    """

    model: RoutedModule
    lowered: Lowered
    target: Target
    frames: Sequence[NDArray[np.uint8]]
    expected: ExpectedRoutes | None
    backend: Backend | None
    watch: Stopwatch
    memory: int | None = None

    def plans(self, programs: Mapping[str, Program], strategy: str) -> dict[str, PricedPlan]:
        """A plan for each kind of frame; engines that several share are priced once.

        Raises:
            ExportError: an unknown strategy, or less memory than any plan takes.
        """
        known: dict[tuple[object, ...], Mapping[int, float]] = {}
        slower: set[tuple[object, ...]] = set()
        found = {}
        for kind, program in programs.items():
            pricer = self.pricer(program, known, slower)
            planned = self._plan(program, strategy, pricer)
            fused = partial(self._plan, program, "routes", pricer) if strategy == "auto" else None
            with self.watch.part("count memory"):
                found[kind] = self._memory(program).within(planned, fused)
        return found

    def _memory(self, program: Program) -> Memory:
        budget = self.target.activation_budget if self.memory is None else self.memory
        size = planned_size(program, self.frames)
        return Memory(self.target, budget, self.memory is not None, self._linked, size)

    def _linked(self, program: Program, variant: Variant) -> onnx.ModelProto:
        images = {value.name for value in program.values if value.image}
        return link(variant, {part: self.lowered.graph(program, part) for part in variant.links}, images)

    def _plan(self, program: Program, strategy: str, pricer: Pricer) -> PricedPlan:
        if strategy != "auto":
            return self._chained(self._priced(program, plan(program, strategy), pricer, None, {}), pricer)
        expected = self._routes_to_expect(program)
        pricing = Pricing(
            pricer.exact,
            pricer.bound,
            pricer.weight_bytes,
            pricer.again,
            lambda made: self._fuses(program, made),
        )
        starts, decisions = choose(program, expected, pricing, self.target.weight_budget)
        decision = {
            "routes": expected.source,
            "prices": "runs timed on this machine" if self.backend else "the target's roofline",
            "runs": [decision.to_json(program) for decision in decisions],
        }
        return self._chained(
            self._priced(program, plan(program, strategy, starts), pricer, expected, decision), pricer
        )

    def _priced(
        self,
        program: Program,
        draft: PlanDraft,
        pricer: Pricer,
        expected: ExpectedRoutes | None,
        decision: Mapping[str, Any],
    ) -> PricedPlan:
        variants = {
            (stage.name, variant): self._variant(stage, variant, pricer, regions.get(variant))
            for stage in draft.stages
            for regions in [expected_regions(stage, expected) if expected else {}]
            for variant in stage.variants
        }
        return PricedPlan(program, draft, variants, decision)

    def _chained(self, priced: PricedPlan, pricer: Pricer) -> PricedPlan:
        """The plan with chains for the routes that the clip's calls take, where they are priced lower than the stages apart.

        Only in single precision: in others a chain's scores would be rounded otherwise than the stages', and decide otherwise.
        """
        program, draft = priced.program, priced.draft
        if draft.strategy == "chained" or self.target.precision != "fp32" or not self._suits(program):
            return priced
        expected = self.expected or of_clip(self.model, program, self.frames)
        chains = []
        engines = dict(priced.variants)
        for chain in chains_of(program, draft, expected):
            stages = [step for step in draft.steps[chain.first : chain.end] if isinstance(step, StageDraft)]
            paying = tuple(v for v in chain.variants if pricer.exact(v)[1] < _apart(stages, v, pricer))
            for variant in paying:
                engines[chain.name, variant] = PricedVariant(*_work(variant, pricer), (1,), {}, None, None)
            if paying:
                chains.append(replace(chain, variants=paying))
        return replace(priced, variants=engines, chains=tuple(chains))

    def _variant(
        self, stage: StageDraft, variant: Variant, pricer: Pricer, regions: float | None
    ) -> PricedVariant:
        ms = pricer.exact(variant) if self.backend else {}
        batches = tuple(sorted(ms)) or (self.target.batches if stage.regions != FRAME else (1,))
        return PricedVariant(*_work(variant, pricer), batches, ms, pricer.kernel(variant), regions)

    def _fuses(self, program: Program, made: StageDraft) -> bool:
        """Whether calls may be fused: at int8, not into engines that end in other tensors than images.

        Errors of several calls add up in these, so that layers stay in float that no price knows of.
        """
        images = {value.name for value in program.values if value.image}
        return self.target.precision != "int8" or all(name in images for name, _ in made.otherwise)

    def _kernel_of(self, program: Program, links: tuple[Link, ...]) -> KernelDraft | None:
        """Kernels run on processors, in single precision; between what they read and make and pictures in bytes stands a graph."""
        values = [program.value(name) for part in links for name in (*part.call.inputs, *part.call.outputs)]
        suits = library(self.target.library).on_processor and not any(value.image for value in values)
        return kernel_of(self.model, links) if suits else None

    def pricer(
        self,
        program: Program,
        known: dict[tuple[object, ...], Mapping[int, float]],
        slower: set[tuple[object, ...]],
    ) -> Pricer:
        """What prices a program's engines; `known` and `slower` are what was found so far, and grow."""
        return Pricer(
            program,
            self.target,
            lambda part: self.lowered.graph(program, part),
            *call_flops(self.model, program),
            sized_ports(program, planned_size(program, self.frames)),
            self.backend,
            partial(self._kernel_of, program),
            self.watch,
            known,
            slower,
        )

    def _routes_to_expect(self, program: Program) -> ExpectedRoutes:
        if self.expected:
            return self.expected
        if self._suits(program):
            return of_clip(self.model, program, self.frames)
        return uniform(program, region_counts(program.operations, planned_size(program, self.frames)))

    def _suits(self, program: Program) -> bool:
        """Whether the clip is what the program reads: enough frames, large enough, turned its way."""
        if not program.task.offsets or not any(True for _ in calls_of(program.task, self.frames)):
            return False
        height, width = self.frames[0].shape[:2]
        turned = {"landscape": width >= height, "portrait": height > width}.get(program.frame, True)
        images = program.inputs[: len(program.inputs) - program.task.timed]
        sizes = [spec.shape[-2:] for spec in images]
        fixed = [(h, w) for h, w in sizes if isinstance(h, int) and isinstance(w, int)]
        return turned and all(h <= height and w <= width for h, w in fixed)


def _work(variant: Variant, pricer: Pricer) -> tuple[int, float]:
    """FLOPs of one region, and what a pixel of the frame adds."""
    keys = [(part.call.outputs[0], part.variant) for part in variant.links]
    return sum(pricer.flops[key] for key in keys), sum(pricer.flops_per_pixel[key] for key in keys)


def _apart(stages: Sequence[StageDraft], chain: Variant, pricer: Pricer) -> float:
    """Milliseconds of the stages' own engines on the route of a chain."""
    route = dict(chain.variant)
    chosen = (v for stage in stages for v in stage.variants if v.select.holds(route))
    return sum(pricer.exact(variant)[1] for variant in chosen)


def expected_regions(stage: StageDraft, expected: ExpectedRoutes) -> dict[Variant, float]:
    """Regions of a frame that each variant of a stage is expected to run for."""
    frames = [frame[stage.regions] for frame in expected.frames]
    found = counts(stage, frames)
    return {variant: sum(found.get(variant, ())) / len(frames) for variant in stage.variants}


def open_for_pricing(target: Target, frames: Sequence[NDArray[np.uint8]]) -> Backend | None:
    """The target's engine library, if there are frames to plan for and it is here: it times engines."""
    if not frames:
        return None
    try:
        return open_backend(target.library)
    except BackendError:
        return None


def costs_of(backend: Backend, precision: str, timed: Mapping[str, Mapping[int, float]]) -> Costs:
    """What was timed, by the key of the plan's graph, as a bundle keeps it."""
    return Costs(Device(cpu_name(), backend.threads, backend.name, backend.version, precision), timed)


_Work: TypeAlias = dict[tuple[str, Assignment], int]


def call_flops(model: RoutedModule, program: Program) -> tuple[_Work, dict[tuple[str, Assignment], float]]:
    """FLOPs of one region, and what a pixel of the frame adds, by a call's first output and the variant.

    Where frames may have any size, they are counted at two, of which the first is 1280x720: a convolution's grow with the
    frame, those of what works at a size of its own do not.
    """
    fixed = {
        name: dim
        for spec, bound in zip(model.inputs, program.inputs, strict=True)
        for name, dim in zip(spec.shape, bound.shape, strict=True)
        if isinstance(name, str) and isinstance(dim, int)
    }
    free = any(name in ("height", "width") for bound in program.inputs for name in bound.shape)
    if not free:
        counted = _counted(model, program, fixed)
        return counted, dict.fromkeys(counted, 0.0)
    one, other = FREE_SIZES
    large, small = (_counted(model, program, {**fixed, **size}) for size in (one, other))
    pixels = one["height"] * one["width"] - other["height"] * other["width"]
    most = {key: flops / (one["height"] * one["width"]) for key, flops in large.items()}  # none of no pixels
    return large, {k: min(max(flops - small[k], 0) / pixels, most[k]) for k, flops in large.items()}


def _counted(model: RoutedModule, program: Program, size: Mapping[str, int]) -> _Work:
    calls = [operation for operation in program.operations if isinstance(operation, Call)]
    return {
        (calls[entry.call].outputs[0], entry.variant): entry.flops
        for entry in cost(model, size or None).calls
    }
