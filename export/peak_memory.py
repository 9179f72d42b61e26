"""How much memory a plan takes while it runs, by the shapes of its graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from edgeflow.export.activations import Activations, activations
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan, StageGraph
from edgeflow.ir.program import region_counts
from edgeflow.runtime.stream.loading import dims_of, sizes_of
from edgeflow.runtime.stream.room import bytes_needed


@dataclass(frozen=True)
class PeakMemory:
    """Bytes of a plan at its fullest, without weights and without what an engine library takes for itself.

    Attributes:
        tensors: between engines: tiles, states and what stages write, which are all kept from frame to frame.
        engines: of what lies between an engine's layers, by graph; none of a native kernel.
        shared: engines run one after another in the same memory, so that the largest counts; else each has its own.
        unknown: tensors of shapes that are known only when a graph runs, which are not counted.
    """

    tensors: int
    engines: Mapping[str, int]
    shared: bool
    unknown: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """In all."""
        inside = self.engines.values()
        return self.tensors + (max(inside, default=0) if self.shared else sum(inside))


def peak_memory(bundle: Bundle, plan: Plan, size: tuple[int, int]) -> PeakMemory:
    """What a plan takes for frames (height, width)."""
    counts = region_counts(plan.steps, size)
    regions = {graph.key: counts[stage.regions] for stage in plan.stages for graph in stage.graphs}
    engines: defaultdict[str, int] = defaultdict(int)
    unknown: list[str] = []
    for graph in plan.graphs:
        if bundle.manifest.graphs[graph.graph].kernel:
            continue
        fitting = [batch for batch in graph.batches if batch <= regions.get(graph.key, 1)]
        found = _inside(bundle, graph, max(fitting, default=1), size)
        engines[graph.graph] = max(engines[graph.graph], found.bytes)
        unknown += found.unknown
    shared = library(bundle.manifest.target["library"]).one_arena
    return PeakMemory(bytes_needed(plan, size, counts), dict(engines), shared, tuple(dict.fromkeys(unknown)))


def _inside(bundle: Bundle, graph: StageGraph, batch: int, size: tuple[int, int]) -> Activations:
    shapes = {port.tensor: (batch, *sizes_of(port.shape, dims_of(size))) for port in graph.inputs}
    return activations(bundle.path / bundle.manifest.graphs[graph.graph].file, shapes)
