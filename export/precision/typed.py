"""Types a packed bundle's graphs in half precision, and fits them to the target's engine library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from edgeflow.export.precision.half import HALVES, half_values, single_note, to_half
from edgeflow.export.precision.rules import DECIDES, deciding, heavy_note
from edgeflow.export.weights import WeightFile
from edgeflow.ir.bundle import WEIGHTS, Bundle, GraphEntry
from edgeflow.ir.plan import Plan, Port, Stage


def at_half(bundle: Bundle, precision: str) -> tuple[dict[str, Plan], dict[str, GraphEntry], WeightFile]:
    """Replace a bundle's graph files by ones that compute in half precision where that is safe.

    Args:
        bundle: its graphs in float32, quantised or not; the files are written over, the rest is not.
        precision: `fp16` or `bf16`.

    Returns:
        The plans, whose cut tensors are in half precision now; the entries of all graphs; and their weights.
    """
    manifest = bundle.manifest
    halves = frozenset[str]().union(*(half_values(plan) for plan in manifest.plans.values()))
    kept = deciding(manifest.plans)
    weights = WeightFile(Path(WEIGHTS).name)
    entries = {}
    for name, entry in manifest.graphs.items():
        path = bundle.path / entry.file
        graph = onnx.load(path)
        note = DECIDES if name in kept else heavy_note(entry) or single_note(graph, precision)
        graph = to_half(graph, halves, precision, single=bool(note))
        graph, moved = weights.externalised(graph)
        path.write_bytes(graph.SerializeToString(deterministic=True))
        if note:
            entry = replace(entry, note=note)
        elif entry.precision == "fp32":
            entry = replace(entry, precision=precision)
        entries[name] = replace(entry, nodes=len(graph.graph.node), weight_bytes=moved)
    dtype = HALVES[precision].name
    plans = {kind: _with_half_ports(plan, halves, dtype) for kind, plan in manifest.plans.items()}
    return plans, entries, weights


def _with_half_ports(plan: Plan, halves: frozenset[str], dtype: str) -> Plan:
    def typed(ports: tuple[Port, ...]) -> tuple[Port, ...]:
        return tuple(replace(p, dtype=dtype) if p.value in halves else p for p in ports)

    steps = [
        replace(
            step,
            graphs=tuple(replace(g, inputs=typed(g.inputs), outputs=typed(g.outputs)) for g in step.graphs),
        )
        if isinstance(step, Stage)
        else step
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps))
