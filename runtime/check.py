"""Checks a bundle on this machine, from its golden vectors, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeflow.ir.bfloat16 import from_held, held, to_held
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.golden import sampled
from edgeflow.ir.plan import Plan, Port, StageGraph
from edgeflow.ir.sqnr import sqnr_db
from edgeflow.runtime.rows import Array
from edgeflow.runtime.session import Session
from edgeflow.runtime.trace import Result

TOLERANCE = 1e-4
"""Largest error of an fp32 engine, relative to the largest value of its output or to 1."""

HALF_TOLERANCES = {"float16": 1e-3, "bfloat16": 8e-3}
"""The same for an fp32 engine that reads or hands on half precision: twice what rounding to it costs."""

MINIMUM_PSNR_DB = 70.0
"""Of whole frames of an fp32 bundle against the eager flow, before rounding."""


@dataclass(frozen=True)
class Gate:
    """What a precision must reach.

    Attributes:
        sqnr_db: least of an engine's outputs against its golden vector; none at fp32, where the
            largest error is limited instead.
        psnr_db: least of whole frames.
        flip_rate: largest share of decisions that may differ.
        rounding: largest difference of the uint8 output from the rounded golden, in levels.
    """

    sqnr_db: float | None
    psnr_db: float
    flip_rate: float
    rounding: int


GATES = {
    "fp32": Gate(None, MINIMUM_PSNR_DB, 0.0, 1),
    "fp16": Gate(40.0, 60.0, 0.01, 255),
    "bf16": Gate(30.0, 50.0, 0.01, 255),
    "int8": Gate(15.0, 40.0, 0.01, 255),
}
"""Engines are held to their own precision, whole frames to the bundle's; 255 levels are any rounding.

CAIN-SD `small` and `tiny` reach, at bf16, 37 dB and more on every engine and 58 dB on frames (55 dB where the
graphs themselves are typed); at int8, 21 dB and 49 dB. The gates lie a little below.
"""


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
        float_layers: names of its layers that are not quantised, of an int8 engine.
    """

    graph: str
    precision: str
    max_error: float
    allowed: float | None
    sqnr_db: float
    minimum_sqnr_db: float | None
    float_layers: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the error is allowed; not if it is no number."""
        small = self.allowed is None or self.max_error <= self.allowed
        return small and (self.minimum_sqnr_db is None or self.sqnr_db >= self.minimum_sqnr_db)


@dataclass(frozen=True)
class ClipCheck:
    """Whole frames against the eager flow.

    Attributes:
        frames: kind of frames the plan is for.
        calls: frames compared.
        psnr_db: before rounding, peak 1; of tensors, relative to the largest value.
        flips: decisions that differ.
        decisions: decisions compared.
        rounding: largest difference of the uint8 output from the rounded golden, in levels.
        gate: what they must reach.
    """

    frames: str
    calls: int
    psnr_db: float
    flips: int
    decisions: int
    rounding: int
    gate: Gate

    @property
    def passed(self) -> bool:
        """Close enough, and no more decisions changed than may."""
        few = self.flips <= self.gate.flip_rate * self.decisions
        return self.psnr_db >= self.gate.psnr_db and few and self.rounding <= self.gate.rounding


@dataclass(frozen=True)
class CheckReport:
    """What was compared with which engine library."""

    library: str
    version: str
    precision: str
    graphs: tuple[GraphCheck, ...]
    clips: tuple[ClipCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether everything passed."""
        return all(g.passed for g in self.graphs) and all(c.passed for c in self.clips)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        graphs = [{**asdict(g), "passed": g.passed} for g in self.graphs]
        clips = [{**asdict(c), "passed": c.passed} for c in self.clips]
        head = {"library": self.library, "version": self.version, "precision": self.precision}
        return {**head, "passed": self.passed, "graphs": graphs, "clips": clips}


def check(
    bundle: Bundle,
    *,
    library: str | None = None,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> CheckReport:
    """Compare every engine, and whole frames, with what the eager flow said at export, at fp32.

    Raises:
        BackendError: the engine library is missing or refuses a graph.
    """
    graphs: dict[str, GraphCheck] = {}
    clips = []
    session = None
    precision = bundle.manifest.target["precision"]
    for kind, plan in bundle.manifest.plans.items():
        with np.load(bundle.path / f"golden/clip-{kind}.npz") as stored:
            golden = dict(stored)
        session = Session(bundle, library=library, threads=threads, exact=True)
        session.prepare(*_frame_size(golden, plan))
        for stage in plan.stages:
            for graph in stage.graphs:
                if graph.key not in graphs:
                    progress(graph.graph)
                    graphs[graph.key] = _check_graph(bundle, session, graph)
        progress(f"{kind} clip")
        rounded = Session(bundle, library=library, threads=threads)
        clips.append(_check_clip(kind, plan, golden, session, rounded, GATES[precision]))
    assert session is not None
    backend = session.backend
    return CheckReport(backend.name, backend.version, precision, tuple(graphs.values()), tuple(clips))


def _frame_size(golden: Mapping[str, Array], plan: Plan) -> tuple[int, int]:
    if not any(isinstance(d, str) for spec in plan.inputs for d in spec.shape):
        first = next((s for s in plan.inputs if s.image), None)
        return (int(first.shape[1]), int(first.shape[2])) if first else (0, 0)
    for i, spec in enumerate(plan.inputs):
        if spec.image:
            height, width = golden[f"0.in.{i}"].shape[:2]
            return height, width
    return (0, 0)


def _check_graph(bundle: Bundle, session: Session, graph: StageGraph) -> GraphCheck:
    assert session.executor is not None
    loaded = session.executor.loaded[graph.key]
    with np.load(bundle.path / graph.golden) as golden:
        inputs = [to_held(golden[f"in.{port.value}"], port.dtype) for port in loaded.graph.inputs]
        wanted = [golden[f"out.{port.tensor}"] for port in loaded.outputs]
    memory = session.backend.memory
    memory.begin_frame()
    outputs = [_empty(session, port) for port in loaded.outputs]
    loaded.engine.run([memory.upload(array) for array in inputs], outputs)
    made = [
        from_held(memory.download(array), port.dtype)
        for array, port in zip(outputs, loaded.outputs, strict=True)
    ]
    pairs = [(sampled(ours), expected) for ours, expected in zip(made, wanted, strict=True)]
    error = float(np.max([np.abs(made - expected).max() for made, expected in pairs]))
    largest = max(float(np.abs(expected).max()) for _, expected in pairs)
    sqnr = float(np.min([sqnr_db([pair]) for pair in pairs]))
    entry = bundle.manifest.graphs[graph.graph]
    if entry.precision != "fp32":
        gate = GATES[entry.precision].sqnr_db
        return GraphCheck(graph.key, entry.precision, error, None, sqnr, gate, entry.float_layers)
    ports = (*graph.inputs, *graph.outputs)
    allowed = max(HALF_TOLERANCES.get(port.dtype, TOLERANCE) for port in ports) * max(1.0, largest)
    return GraphCheck(graph.key, entry.precision, error, allowed, sqnr, None)


def _empty(session: Session, port: Port) -> Array:
    assert session.executor is not None
    return session.backend.memory.empty((1, *session.executor.sizes(port.shape)), held(port.dtype))


def _check_clip(
    kind: str, plan: Plan, golden: Mapping[str, Array], session: Session, rounded: Session, gate: Gate
) -> ClipCheck:
    calls = len({name.split(".")[0] for name in golden})
    squared, peak, flips, decisions, rounding = [], 1.0, 0, 0, 0
    for call in range(calls):
        inputs = [golden[f"{call}.in.{i}"] for i in range(len(plan.inputs))]
        result, images = session.run(*inputs), rounded.run(*inputs)
        for i, spec in enumerate(plan.outputs):
            expected = golden[f"{call}.out.{i}"]
            squared.append(float(np.mean((sampled(result.outputs[i]).astype(np.float64) - expected) ** 2)))
            if spec.image:
                levels = sampled(np.ascontiguousarray(images.outputs[i].transpose(2, 0, 1)))
                off = np.abs(levels - np.clip(expected, 0, 1) * 255).max()
                rounding = max(rounding, int(np.ceil(off - 0.501)))
            else:
                peak = max(peak, float(np.abs(expected).max()))
        for name, taken in _decisions(plan, result).items():
            own = golden[f"{call}.route.{name}"].tolist()
            decisions += len(own)
            flips += sum(a != b for a, b in zip(own, taken, strict=True))
    error = max(float(np.mean(squared)), 1e-20)
    psnr = float(10 * np.log10(peak**2 / error))
    return ClipCheck(kind, calls, psnr, flips, decisions, rounding, gate)


def _decisions(plan: Plan, result: Result) -> dict[str, list[int]]:
    """Per variable, the chosen index of every region, as the session's trace has it."""
    choices = result.trace.choices
    return {v.name: [v.axis.index(choice) for choice in choices[v.name]] for v in plan.variables}
