"""Keeps what a plan's frames take within the memory that there is: bands of rows inside its engines, or one engine instead of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeAlias

import onnx

from edgeflow.export.activations import Activations, counted, inferred
from edgeflow.export.drafts import StageDraft, Variant
from edgeflow.export.heavy import without_data
from edgeflow.export.lowering.row_bands import Banded, BandPlan
from edgeflow.export.planning.ports import stage_graph
from edgeflow.export.planning.priced import PricedPlan
from edgeflow.ir.errors import ExportError
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan, Stage
from edgeflow.ir.program import Program, region_counts
from edgeflow.runtime.stream.loading import dims_of, sizes_of
from edgeflow.runtime.stream.room import bytes_needed
from edgeflow.targets import Target

WORTH = 0.05
"""Share of what is held at the fullest that a region holds, so that bands of it are worth their nodes."""
MOST_BANDS = 32

Key: TypeAlias = tuple[str, Variant]
"""An engine: the name of its stage, and its variant."""


@dataclass(frozen=True)
class Memory:
    """What frames may take.

    Attributes:
        target: whose library runs the engines.
        budget: bytes of a frame's tensors, between engines and inside.
        strict: refuse what takes more; else it is only said.
        model: the linked graph of a variant of a program.
        size: (height, width) of the frames.
    """

    target: Target
    budget: int
    strict: bool
    model: Callable[[Program, Variant], onnx.ModelProto]
    size: tuple[int, int]

    def within(self, planned: PricedPlan, fused: Callable[[], PricedPlan] | None) -> PricedPlan:
        """A plan that takes no more: as planned if that does not, or with bands of rows in its engines, else with all calls in one engine, and bands in that.

        Args:
            planned: as chosen for time.
            fused: makes the plan with the fewest engines; None if the plan is not to be another one.

        Raises:
            ExportError: no plan takes so little.
        """
        plan, engines = planned, self._engines(planned)
        if (before := self._bytes(planned, engines)) <= self.budget:
            return planned
        bands, reached = self._banded(planned, engines)
        if reached > self.budget and fused:
            whole = replace(fused(), chains=())
            inside = self._engines(whole)
            if (after := self._bytes(whole, inside)) <= self.budget:
                return replace(whole, saving=self._told(before, after, "calls run as one engine"))
            cut = self._banded(whole, inside)
            if cut[1] < reached:
                plan, engines, (bands, reached) = whole, inside, cut
        if reached > self.budget:
            return self._refused(planned, plan, engines, reached)
        count = sum(len(each.bands) for each in bands.values())
        told = self._told(before, reached, f"what leads to {count} tensors is made in bands of rows")
        return replace(plan, bands=bands, saving=told)

    def _refused(
        self, planned: PricedPlan, plan: PricedPlan, engines: Mapping[Key, Activations], reached: int
    ) -> PricedPlan:
        """The plan as it was chosen for time, and what it takes.

        Args:
            planned: as chosen for time.
            plan: with the fewest engines.
            engines: what lies inside each of these.
            reached: bytes that it takes with all bands that help.

        Raises:
            ExportError: the budget was asked for.
        """
        why = self._too_little(plan, engines, reached)
        if self.strict:
            raise ExportError(
                f"{why}: give --memory-budget {ceil(reached / 1e5) / 10:g} or more, smaller frames by --size, or tiles (f.tile). This was known "
                "once the segments were lowered, which are kept: the next try begins with them"
            )
        return replace(planned, saving=f"{why}: smaller frames by --size, or tiles (f.tile), would take less")

    def _told(self, before: int, after: int, how: str) -> str:
        height, width = self.size
        return (
            f"to keep a {width}x{height} frame's tensors within {self.budget / 1e6:.0f} MB, {how}: {after / 1e6:.0f} MB at the "
            f"fullest, {before / 1e6:.0f} MB as planned for time"
        )

    def _engines(self, plan: PricedPlan) -> dict[Key, Activations]:
        """What lies inside every engine; native kernels hold nothing."""
        return {
            (stage.name, variant): self._counted(plan, stage, variant)
            for stage in plan.draft.stages
            for variant in stage.variants
            if plan.variants[stage.name, variant].kernel is None
        }

    def _counted(self, plan: PricedPlan, stage: StageDraft, variant: Variant) -> Activations:
        model = without_data(self.model(plan.program, variant))
        return counted(inferred(model, self._shapes(plan, stage, variant)))

    def _shapes(self, plan: PricedPlan, stage: StageDraft, variant: Variant) -> dict[str, tuple[int, ...]]:
        """Shapes of an engine's inputs at its largest batch."""
        regions = region_counts(plan.draft.steps, self.size)[stage.regions]
        engine = plan.variants[stage.name, variant]
        batch = max((b for b in engine.batches if b <= regions), default=1)
        graph = stage_graph(plan.program, variant, "", engine.flops, engine.batches)
        return {port.tensor: (batch, *sizes_of(port.shape, dims_of(self.size))) for port in graph.inputs}

    def _between(self, plan: PricedPlan) -> int:
        """Bytes of what lies between engines."""
        program = plan.program
        steps = tuple(
            Stage(
                step.name,
                step.regions,
                (),
                tuple(stage_graph(program, variant, "", 0, (1,)) for variant in step.variants),
                step.otherwise,
            )
            if isinstance(step, StageDraft)
            else step
            for step in plan.draft.steps
        )
        ends = (program.inputs, program.outputs, program.results)
        return bytes_needed(
            Plan("", *ends, program.states, (), steps), self.size, region_counts(steps, self.size)
        )

    def _bytes(self, plan: PricedPlan, engines: Mapping[Key, Activations]) -> int:
        inside = [each.bytes for each in engines.values()]
        shared = library(self.target.library).one_arena
        return self._between(plan) + (max(inside, default=0) if shared else sum(inside))

    def _banded(
        self, plan: PricedPlan, engines: Mapping[Key, Activations]
    ) -> tuple[dict[Key, BandPlan], int]:
        """Bands in the engines that hold most, until the plan takes no more than the budget or all have theirs; the bytes that it takes then."""
        bands: dict[Key, BandPlan] = {}
        left = dict(engines)
        while (over := self._bytes(plan, left) - self.budget) > 0:
            untouched = {key: found.bytes for key, found in left.items() if key not in bands}
            if not untouched:
                break
            key = max(untouched, key=lambda each: untouched[each])
            stage = next(stage for stage in plan.draft.stages if stage.name == key[0])
            shapes = self._shapes(plan, stage, key[1])
            bands[key], left[key] = _fitted(
                self.model(plan.program, key[1]), shapes, max(untouched[key] - over, 0)
            )
        return bands, self._bytes(plan, left)

    def _too_little(self, plan: PricedPlan, engines: Mapping[Key, Activations], reached: int) -> str:
        """Why a plan cannot take less than what bands reach."""
        (name, variant), fullest = max(engines.items(), key=lambda pair: pair[1].bytes)
        model = self.model(plan.program, variant)
        graph = inferred(
            without_data(model),
            self._shapes(plan, next(s for s in plan.draft.stages if s.name == name), variant),
        )
        whole = Counter(Banded(model, shapes_of(graph)).whole).most_common(4)
        least = (
            f"to {reached / 1e6:.0f} MB and no lower" if reached < self._bytes(plan, engines) else "no lower"
        )
        why = [f"{', '.join(kind for kind, _ in whole)} look at whole pictures"] if whole else []
        if not whole or len(plan.draft.stages) > 1:
            why.append(f"{self._between(plan) / 1e6:.0f} MB lie between engines (least with --plan routes)")
        return (
            f"a {self.size[1]}x{self.size[0]} frame takes {self._bytes(plan, engines) / 1e6:.0f} MB at the fullest (at {fullest.at} of {name}), "
            f"and bands of rows bring that {least}, where {self.budget / 1e6:.0f} MB were to hold it, since {' and '.join(why)}"
        )


def _fitted(
    model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]], budget: int
) -> tuple[BandPlan, Activations]:
    """The bands with which a graph takes no more than a budget, or as little as they can, and what it takes then.

    What holds most at the fullest is cut first, and into twice as many bands while that is not enough.
    """
    light = without_data(model)
    graph = inferred(without_data(model), inputs)
    banded = Banded(light, shapes_of(graph))
    bands: dict[str, int] = {}
    found, owners = counted(graph), banded.cut({}).owners
    best = dict(bands), found
    while found.bytes > budget and (more := _more(banded, bands, owners, found, budget)):
        bands |= more
        cut = banded.cut(bands)
        found, owners = counted(inferred(cut.model, inputs)), cut.owners
        if found.bytes < best[1].bytes:
            best = dict(bands), found
    return BandPlan(best[0], banded.shapes), best[1]


def _more(
    banded: Banded, bands: Mapping[str, int], owners: Mapping[str, str], found: Activations, budget: int
) -> dict[str, int]:
    """More bands of the regions that hold most where a graph is fullest."""
    held: Counter[str] = Counter()
    for name, size in found.held.items():
        if name in owners:
            held[owners[name]] += size
    regions = {region.target: region for region in banded.regions}
    more = {}
    for target, size in held.items():
        most = min(banded.most(regions[target]), MOST_BANDS)
        start = 1 << min(ceil(found.bytes / max(budget, 1)) - 1, 5).bit_length()
        wanted = min(max(2 * bands.get(target, 0), start), most)
        if size >= WORTH * found.bytes and wanted > bands.get(target, 1):
            more[target] = most if regions[target].cuts else wanted
    return more


def shapes_of(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Sizes of a graph's tensors by name; 0 where one is free."""
    infos = (*graph.value_info, *graph.input, *graph.output)
    found = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in infos}
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}
