"""Which engines are computed in bfloat16, and which never leave fp32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeflow.export.heavy import MOST_BYTES
from edgeflow.ir.bundle import GraphEntry
from edgeflow.ir.plan import Plan

DECIDES = "decides routes, which precision must not change"

HEAVY = "holds more than 2 GiB of weights, which quantisers and converters of types cannot be given"

HAS_KERNEL = "runs as a native kernel, which computes in fp32"


def deciding(plans: Mapping[str, Plan]) -> frozenset[str]:
    """Graphs that stay fp32 at any precision: those whose outputs a route reads.

    A decision is a comparison: where two scores lie close, the smallest error sends a region
    another way, and its whole picture changes. And routers are a small part of the cost.
    """
    return frozenset[str]().union(*(plan.deciding for plan in plans.values()))


def at_bf16(graphs: Mapping[str, GraphEntry], plans: Mapping[str, Plan]) -> dict[str, GraphEntry]:
    """The same fp32 graphs, to be computed in bfloat16 by the engine library, but for those that decide."""
    kept = deciding(plans)
    return {
        name: replace(entry, note=note)
        if (note := fp32_note(entry, name in kept))
        else replace(entry, precision="bf16")
        for name, entry in graphs.items()
    }


def fp32_note(entry: GraphEntry, decides: bool) -> str:
    """Why an engine stays fp32 at any precision; empty if it need not."""
    if decides:
        return DECIDES
    if entry.kernel:
        return HAS_KERNEL
    return heavy_note(entry)


def heavy_note(entry: GraphEntry) -> str:
    """Why an engine with very many weights stays fp32; empty for others."""
    return HEAVY if entry.weight_bytes > MOST_BYTES else ""
