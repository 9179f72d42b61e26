"""One engine against its golden vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edgeflow.ir.arrays import read_arrays
from edgeflow.ir.bfloat16 import from_held, held, to_held
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.golden import SAMPLES, require, sampled
from edgeflow.ir.errors import BundleError
from edgeflow.ir.plan import Plan
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.checking.gates import GATES, HALF_TOLERANCES, MOVES, TOLERANCE
from edgeflow.runtime.stream.loading import LoadedGraph, sizes_of
from edgeflow.runtime.stream.rows import Array


@dataclass(frozen=True)
class GraphCheck:
    """One graph at its shapes against its golden vector.

    Attributes:
        graph: its key in the plan.
        precision: of its engine.
        max_error: largest absolute error.
        allowed: what that may be; none below fp32.
        sqnr_db: signal to error of the worst output.
        minimum_sqnr_db: what that must be; none at fp32.
        moved: by how much the model itself moves when its inputs change in the last digit; None in older bundles.
        float_layers: names of its layers that are not quantised, of an int8 engine.
    """

    graph: str
    precision: str
    max_error: float
    allowed: float | None
    sqnr_db: float
    minimum_sqnr_db: float | None
    moved: float | None = None
    float_layers: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the error is allowed; not if it is no number."""
        small = self.allowed is None or self.max_error <= self.allowed
        return small and (self.minimum_sqnr_db is None or self.sqnr_db >= self.minimum_sqnr_db)


def check_engine(
    bundle: Bundle,
    loaded: LoadedGraph,
    memory: Memory,
    dims: Mapping[str, int],
    golden: Mapping[str, Array] | None = None,
) -> GraphCheck:
    """Run an engine on its golden vector's inputs.

    Args:
        bundle: where the golden lies.
        loaded: the engine; its images come out exact.
        memory: that it reads and writes.
        dims: of the golden's frame.
        golden: its arrays; the graph's own if not given.

    Raises:
        BundleError: they are damaged, or of another graph.
    """
    graph = loaded.graph
    if golden is None:
        golden = read_arrays(bundle.path / graph.golden)
    _check_golden(bundle.path / graph.golden, golden, loaded, dims)
    inputs = [to_held(golden[f"in.{port.value}"], port.dtype) for port in graph.inputs]
    wanted = [golden[f"out.{port.tensor}"] for port in loaded.outputs]
    moves = [float(array.reshape(-1)[0]) for name, array in golden.items() if name.startswith("moved.")]
    memory.begin_frame()
    outputs = [memory.empty((1, *sizes_of(port.shape, dims)), held(port.dtype)) for port in loaded.outputs]
    loaded.run([memory.upload(array) for array in inputs], outputs)
    made = [
        from_held(memory.download(array), port.dtype)
        for array, port in zip(outputs, loaded.outputs, strict=True)
    ]
    pairs = [(sampled(ours), expected) for ours, expected in zip(made, wanted, strict=True)]
    error = float(np.max([np.abs(made - expected).max() for made, expected in pairs]))
    largest = max(float(np.abs(expected).max()) for _, expected in pairs)
    sqnr = float(np.min([sqnr_db([pair]) for pair in pairs]))
    entry = bundle.manifest.graphs[graph.graph]
    moved = max(moves) if moves else None
    if entry.precision != "fp32":
        gate = GATES[entry.precision].sqnr_db
        return GraphCheck(graph.key, entry.precision, error, None, sqnr, gate, moved, entry.float_layers)
    ports = (*graph.inputs, *graph.outputs)
    allowed = max(HALF_TOLERANCES.get(port.dtype, TOLERANCE) for port in ports) * max(1.0, largest)
    allowed = max(allowed, MOVES * (moved or 0.0))
    return GraphCheck(graph.key, entry.precision, error, allowed, sqnr, None, moved)


def _check_golden(
    file: Path, golden: Mapping[str, Array], loaded: LoadedGraph, dims: Mapping[str, int]
) -> None:
    """Refuse golden vectors of other shapes than the engine's: libraries and kernels need not look.

    Raises:
        BundleError: names the array.
    """
    given = {f"in.{port.value}": (1, *sizes_of(port.shape, dims)) for port in loaded.graph.inputs}
    kept = {f"out.{port.tensor}": min(prod(sizes_of(port.shape, dims)), SAMPLES) for port in loaded.outputs}
    require(file, golden, (*given, *kept))
    for name, shape in given.items():
        if golden[name].shape != shape:
            raise BundleError(
                f"{file}: {name!r} is of shape {golden[name].shape}, not {shape}: export the bundle again"
            )
    for name, array in golden.items():
        if array.size != kept.get(name, array.size) or not array.size:
            raise BundleError(
                f"{file}: {name!r} has {array.size} elements, not {kept.get(name, 1)}: export the bundle again"
            )


def golden_size(golden: Mapping[str, Array], plan: Plan) -> tuple[int, int]:
    """(height, width) of a plan's golden frames, given its golden clip; (0, 0) if it takes no image."""
    if not any(isinstance(d, str) for spec in plan.inputs for d in spec.shape):
        first = next((s for s in plan.inputs if s.image), None)
        return (int(first.shape[-2]), int(first.shape[-1])) if first else (0, 0)
    for i, spec in enumerate(plan.inputs):
        if spec.image:
            shape = golden[f"0.in.{i}"].shape
            if len(shape) != len(spec.shape):
                raise BundleError(
                    f"the golden frames of {spec.name!r} are of shape {shape}: export the bundle again"
                )
            return shape[-3], shape[-2]
    return (0, 0)
