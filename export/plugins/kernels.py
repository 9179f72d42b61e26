"""Which engines may run as a native kernel: those of one segment that is exactly an operator with one."""

from __future__ import annotations

from collections.abc import Sequence

from edgeflow.export.drafts import Link
from edgeflow.export.operators import operators
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.segments import find_segment


def kernel_of(model: RoutedModule, links: Sequence[Link]) -> KernelDraft | None:
    """The kernel that can run a stage of these calls in place of its graph, if one can."""
    if len(links) != 1:
        return None
    call = links[0].call
    if len(set(call.inputs)) < len(call.inputs):
        return None  # a stage reads a value once, whatever its calls do
    segment = find_segment(model, call.segment)
    drafts = (own.kernel(segment) for own in operators())
    return next((draft for draft in drafts if draft), None)
