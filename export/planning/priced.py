"""A plan with what its engines cost: what the planner hands on to packing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeflow.export.drafts import ChainDraft, PlanDraft, Variant
from edgeflow.export.lowering.row_bands import BandPlan
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.ir.program import Program


@dataclass(frozen=True)
class PricedVariant:
    """An engine to be.

    Attributes:
        flops: of one region.
        flops_per_pixel: what a pixel of the frame adds where frames may have any size.
        batches: static batch sizes worth running, ascending.
        ms: of a run per batch size, if it was timed.
        kernel: to run in place of its graph, if one can and was not timed to be slower.
        regions: of a frame that it is expected to run for; None if no routes were planned for.
    """

    flops: int
    flops_per_pixel: float
    batches: tuple[int, ...]
    ms: Mapping[int, float]
    kernel: KernelDraft | None
    regions: float | None


@dataclass(frozen=True)
class PricedPlan:
    """A drafted plan of one program, and its engines.

    Attributes:
        program: that it is of.
        draft: its stages.
        variants: its engines, by name of their stage and variant.
        decision: why these stages, for the manifest; empty if nothing was chosen.
        chains: of its steps, on likely routes; their engines are among the variants, by the chain's name.
        bands: what of its engines is made band by band, to save memory; by name of their stage and variant.
        saving: what was done to save memory, in words; empty if nothing was.
    """

    program: Program
    draft: PlanDraft
    variants: Mapping[tuple[str, Variant], PricedVariant]
    decision: Mapping[str, Any]
    chains: tuple[ChainDraft, ...] = ()
    bands: Mapping[tuple[str, Variant], BandPlan] = field(default_factory=dict)
    saving: str = ""
