"""Says how much memory a plan takes while it runs."""

from __future__ import annotations

from edgeflow.cli.console import megabytes, out
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.installing import with_extras
from edgeflow.ir.plan import Plan
from edgeflow.runtime.session import declared_size

FREE_SIZE = (720, 1280)
"""(height, width) of frames whose size is free."""


def frame_size(kind: str, plan: Plan) -> tuple[int, int]:
    """(height, width) of the frames of a kind's plan: their own, or FREE_SIZE, turned for portraits."""
    return declared_size(plan.inputs) or (FREE_SIZE[::-1] if kind == "portrait" else FREE_SIZE)


def print_memory(bundle: Bundle, plan: Plan, size: tuple[int, int]) -> None:
    """Print what a plan takes for frames (height, width), beside weights and what a library takes for itself."""
    try:
        from edgeflow.export.peak_memory import peak_memory
    except ImportError as error:
        out.print(f"activations are not counted: that needs {error.name}: {with_extras('export')}")
        return
    peak = peak_memory(bundle, plan, size)
    largest = max(peak.engines.values(), default=0)
    inside = f"{megabytes(largest)} in the largest engine"
    if not peak.shared:
        inside = f"{megabytes(sum(peak.engines.values()))} in engines"
    out.print(
        f"activations of a {size[1]}x{size[0]} frame, by their shapes: {megabytes(peak.bytes)} at the fullest, {inside}, "
        f"{megabytes(peak.tensors)} between engines",
        soft_wrap=True,
    )
    if peak.unknown:
        out.print(f"not counted, since their shapes are known only at run time: {len(peak.unknown)} tensors")
