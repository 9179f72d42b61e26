"""Whether an engine's lower precision pays: both are timed in turn, in the target's library, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from edgeflow.ir.bundle import Bundle, GraphEntry
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Plan, Port, StageGraph
from edgeflow.runtime.backends import Backend, Engine, open_backend
from edgeflow.runtime.checking.engines import golden_size
from edgeflow.runtime.device import measure
from edgeflow.runtime.stream.loading import dims_of, sizes_of

LEAST_GAIN = 1.02
"""Times as fast as at fp32 that an engine must be at a lower precision."""

TURNS = 3
"""Times that both engines are timed; the least of each counts."""


def note_on(precision: str, gain: float) -> str:
    """What is said of an engine that stays in float, as it is only so many times as fast; empty if it is faster."""
    if gain >= LEAST_GAIN:
        return ""
    return f"{precision} is {gain:.2f} times as fast as fp32 here, {LEAST_GAIN} are asked for"


def gain_of(
    engines: tuple[Engine, Engine],
    backend: Backend,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    batch: int,
) -> float:
    """How many times as fast the second engine is as the first.

    Args:
        engines: that read and make the same.
        backend: that loaded them.
        inputs: of both, all dimensions known.
        outputs: of both, all dimensions known.
        batch: rows of a run.
    """
    least = [np.inf, np.inf]
    for _ in range(TURNS):
        for i, engine in enumerate(engines):
            least[i] = min(least[i], measure(engine, backend.memory, inputs, outputs, [batch])[batch])
    return float(least[0] / least[1])


def int8_gain(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
    backend: Backend,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    batch: int,
) -> float:
    """How many times as fast the second graph, at int8, is as the first, at fp32; see `gain_of`."""
    with TemporaryDirectory() as folder:
        engines = []
        for graph, precision in zip(graphs, ("fp32", "int8"), strict=True):
            path = Path(folder) / f"{precision}.onnx"
            onnx.save(graph, path)
            engines.append(backend.load(path, inputs, outputs, {}, precision))
        return gain_of((engines[0], engines[1]), backend, inputs, outputs, batch)


def bf16_where_it_pays(bundle: Bundle, progress: Callable[[str, int, int], None]) -> dict[str, GraphEntry]:
    """A bundle's entries, those at fp32 again whose engines bfloat16 does not make faster.

    Where the engine library, or the processor's bfloat16, is missing here, nothing is timed and all stay as they are.

    Args:
        bundle: whose fp32 graphs are marked for bfloat16.
        progress: told of every graph.
    """
    manifest = bundle.manifest
    entries = dict(manifest.graphs)
    try:
        backend = open_backend(manifest.target["library"])
        for kind, plan in manifest.plans.items():
            dims = dims_of(_golden_size(bundle, kind, plan))
            for graph in (graph for stage in plan.stages for graph in stage.graphs):
                entry = entries[graph.graph]
                if entry.precision == "bf16":
                    progress(f"time {graph.graph}", len(entries), len(entries))
                    note = note_on("bf16", _bf16_gain(bundle, graph, entry, backend, dims))
                    entries[graph.graph] = replace(entry, precision="fp32", note=note) if note else entry
    except BackendError:
        return dict(manifest.graphs)
    return entries


def _golden_size(bundle: Bundle, kind: str, plan: Plan) -> tuple[int, int]:
    with np.load(bundle.path / f"golden/clip-{kind}.npz") as golden:
        return golden_size(golden, plan)


def _bf16_gain(
    bundle: Bundle, graph: StageGraph, entry: GraphEntry, backend: Backend, dims: Mapping[str, int]
) -> float:
    inputs, outputs = (
        [replace(port, shape=sizes_of(port.shape, dims)) for port in ports]
        for ports in (graph.inputs, graph.outputs)
    )
    path = bundle.path / entry.file
    exact, reduced = (backend.load(path, inputs, outputs, dims, each) for each in ("fp32", "bf16"))
    return gain_of((exact, reduced), backend, inputs, outputs, max(graph.batches))
