"""The cost interpreter: FLOPs and bytes per route, counted while tracing.

A FLOP is one multiplication or one addition: 2 per multiply-accumulate of convolutions and
matrix products. Elementwise work is not counted, as in the papers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from edgeflow.flow.flow import leaves
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.segments import find_segment
from edgeflow.flow.trace import FREE_SIZES
from edgeflow.flow.tracing import TraceFlow
from edgeflow.flow.train import condition_mask
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import FRAME, Call
from edgeflow.ir.route import (
    MOST_ASSIGNMENTS,
    Assignment,
    Choice,
    Condition,
    Variable,
    assignments,
    count_assignments,
    describe,
)
from edgeflow.ops.deform_conv import torchvision_formulas


@dataclass(frozen=True)
class CallCost:
    """What one variant of one call costs per region.

    Attributes:
        call: number of the call in the traced program, from 0.
        segment: its dotted name.
        regions: region set it runs for.
        variant: variable values it is for.
        when: where it runs.
        flops: 2 per multiply-accumulate.
        bytes: float32 inputs, outputs and weights, each once.
    """

    call: int
    segment: str
    regions: str
    variant: Assignment
    when: Condition
    flops: int
    bytes: int


@dataclass(frozen=True)
class Cost:
    """Cost of every call variant of a model."""

    variables: tuple[Variable, ...]
    calls: tuple[CallCost, ...]

    def flops(self, route: Mapping[str, Choice], regions: str) -> int:
        """FLOPs of one region of a region set that takes this route."""
        return sum(
            call.flops
            for call in self.calls
            if call.regions == regions
            and call.when.holds(route)
            and all(route[name] == value for name, value in call.variant)
        )

    def table(self, regions: str = "tiles") -> dict[str, int]:
        """FLOPs of one region, per route: `exit=3,scale=2` -> FLOPs.

        Raises:
            FlowError: there are too many routes for a table; `flops` gives those of one.
        """
        own = [c for c in self.calls if c.regions == regions]
        used = {n for c in own for n in (*c.when.variables, *(n for n, _ in c.variant))}
        read = [v for v in self.variables if v.name in used]
        if count_assignments(read) > MOST_ASSIGNMENTS:
            raise FlowError(
                f"{count_assignments(read)} routes over {len(read)} decisions are too many for a table: ask for the FLOPs of a route"
            )
        routes = assignments(read)
        return {describe(route): self.flops(dict(route), regions) for route in routes}

    def expected(self, masks: Mapping[str, torch.Tensor], regions: str) -> torch.Tensor:
        """Differentiable FLOPs per region: (regions,), for masks of the training interpreter.

        Source: CAIN-SD, Eq. 11.
        """
        variables = {variable.name: variable for variable in self.variables}
        count = max(len(mask) for mask in masks.values())
        total = next(iter(masks.values())).new_zeros(count)
        for call in self.calls:
            if call.regions == regions:
                condition = call.when
                for name, value in call.variant:
                    condition = Condition("in", variable=name, values=(value,)) & condition
                total = total + call.flops * condition_mask(condition, masks, variables, count)
        return total


def _formulas() -> dict[Any, Any]:
    """How operators are counted that PyTorch's counter does not know: attention on a processor is one of them."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    return {**torchvision_formulas(), torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}


def cost(model: RoutedModule, size: Mapping[str, int] | None = None) -> Cost:
    """Count every call variant of a model's flow.

    Args:
        model: the routed module.
        size: values for the free dimensions of its inputs; 1280x720 if not given.
    """
    flow = _CostFlow(model, size or FREE_SIZES[0])
    program = flow.record("any")
    return Cost(program.variables, tuple(flow.calls))


class _CostFlow(TraceFlow):
    def __init__(self, model: RoutedModule, size: Mapping[str, int]) -> None:
        super().__init__(model, size)
        self.calls: list[CallCost] = []
        self._regions = FRAME

    def _call(self, segment: Any, inputs: Any, *rest: Any) -> Any:
        self._regions = inputs[0].value.regions
        return super()._call(segment, inputs, *rest)

    def run_segment(
        self,
        name: str,
        segment: Any,
        tensors: list[torch.Tensor],
        keywords: dict[str, Any],
        variant: Assignment,
        when: Condition,
    ) -> Any:
        with FlopCounterMode(display=False, custom_mapping=_formulas()) as counter:
            made = super().run_segment(name, segment, tensors, keywords, variant, when)
        batch = tensors[0].shape[0]
        flops = counter.get_total_flops() // batch
        moved = 4 * sum(prod(t.shape[1:]) for t in (*tensors, *leaves(made)))
        weights = sum(p.numel() * p.element_size() for p in _parameters(self.model, name))
        number = sum(isinstance(operation, Call) for operation in self._operations)
        self.calls.append(CallCost(number, name, self._regions, variant, when, flops, moved + weights))
        return made


def _parameters(model: RoutedModule, name: str) -> list[nn.Parameter]:
    segment = find_segment(model, name)
    owner = segment if isinstance(segment, nn.Module) else segment.__self__
    return list(owner.parameters()) if owner is not model else []
