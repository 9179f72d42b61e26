"""What `edgeflow export --dry-run` shows: engines, bytes, and what they are expected to cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from edgeflow.cli.console import megabytes, out
from edgeflow.cli.memory import frame_size
from edgeflow.cli.supported import print_support
from edgeflow.ir.bundle import WEIGHTS, Bundle
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan, StageGraph
from edgeflow.ir.program import region_counts
from edgeflow.runtime.stream.loading import dims_of, roofline_ms
from edgeflow.targets import Target


@dataclass(frozen=True)
class ExpectedEngine:
    """One engine to be.

    Attributes:
        stage: that it is a variant of.
        graph: its id.
        inputs: shapes of one region.
        batches: static batch sizes.
        precision: of the engine.
        flops: of one region.
        weight_bytes: that it reads.
        ms: by the target's roofline, for one region.
    """

    stage: str
    graph: str
    inputs: tuple[str, ...]
    batches: tuple[int, ...]
    precision: str
    flops: int
    weight_bytes: int
    ms: float


@dataclass(frozen=True)
class Expected:
    """What an export would make.

    Attributes:
        target: its name.
        engines: of all plans.
        unique_bytes: of the weights, each once.
        shared_bytes: of the weights that more than one engine reads, counted once too often.
        peak_bytes: by plan, of a frame's tensors and of what lies between the engines' layers, at the fullest; see `PeakMemory`.
        frame_ms: by plan, of a frame whose regions all take the dearest route, by the roofline.
        sizes: (height, width) of such a frame, by plan.
        build_seconds: that finishing it on the device may take; 0 where engines need no build.
        support: the support report; None where the library takes all of ONNX.
    """

    target: str
    engines: tuple[ExpectedEngine, ...]
    unique_bytes: int
    shared_bytes: int
    peak_bytes: dict[str, int]
    frame_ms: dict[str, float]
    sizes: dict[str, tuple[int, int]]
    build_seconds: float
    support: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def expect(bundle: Bundle, target: Target) -> Expected:
    """What a bundle is expected to cost on its target."""
    from edgeflow.export.peak_memory import peak_memory

    plans = bundle.manifest.plans
    sizes = {kind: frame_size(kind, plan) for kind, plan in plans.items()}
    by_plan = {
        kind: {
            (graph.key, stage.name): _engine(bundle, target, stage.name, graph, sizes[kind])
            for stage in plan.stages
            for graph in stage.graphs
        }
        for kind, plan in plans.items()
    }
    engines = {key: engine for own in reversed(by_plan.values()) for key, engine in own.items()}
    unique = bundle.manifest.files[WEIGHTS].bytes
    graphs = {engine.graph: engine for engine in engines.values()}
    read = sum(engine.weight_bytes for engine in graphs.values())
    shapes = sum(len(engine.batches) for engine in engines.values())
    nodes = sum(bundle.manifest.graphs[engine.graph].nodes for engine in engines.values()) / max(
        len(engines), 1
    )
    return Expected(
        target.name,
        tuple(engines.values()),
        unique,
        max(read - unique, 0),
        {kind: peak_memory(bundle, plan, sizes[kind]).bytes for kind, plan in plans.items()},
        {kind: _frame_ms(plan, target, by_plan[kind], sizes[kind]) for kind, plan in plans.items()},
        sizes,
        library(target.library).build_seconds * nodes * shapes,
        bundle.manifest.provenance.get("support"),
    )


def _engine(
    bundle: Bundle, target: Target, stage: str, graph: StageGraph, size: tuple[int, int]
) -> ExpectedEngine:
    entry = bundle.manifest.graphs[graph.graph]
    inputs = tuple("x".join(map(str, port.shape)) for port in graph.inputs)
    ms = roofline_ms(graph, entry.weight_bytes, dims_of(size), target.roofline)[1]
    return ExpectedEngine(
        stage,
        graph.graph,
        inputs,
        graph.batches,
        entry.precision,
        graph.flops_at(size),
        entry.weight_bytes,
        ms,
    )


def _frame_ms(
    plan: Plan, target: Target, engines: dict[tuple[str, str], ExpectedEngine], size: tuple[int, int]
) -> float:
    """Every stage's dearest variant on every region, in batches as large as there are."""
    counts = region_counts(plan.steps, size)
    total = 0.0
    for stage in plan.stages:
        regions = counts[stage.regions]
        own = [engines[graph.key, stage.name] for graph in stage.graphs]
        dearest = max(own, key=lambda engine: engine.ms)
        launches = -(-regions // max(dearest.batches))
        total += (dearest.ms - target.roofline.launch_ms) * regions + target.roofline.launch_ms * launches
    return total


def print_expected(expected: Expected) -> None:
    """Print what is expected as tables."""
    table = Table("stage", "inputs", "batches", "precision", "GFLOP", "weights", "expected ms")
    for engine in expected.engines:
        table.add_row(
            engine.stage,
            ", ".join(engine.inputs),
            ", ".join(map(str, engine.batches)),
            engine.precision,
            f"{engine.flops / 1e9:.2f}",
            megabytes(engine.weight_bytes),
            f"{engine.ms:.3f}",
        )
    out.print(table)
    out.print(
        f"{len(expected.engines)} engines for {expected.target}; weights {megabytes(expected.unique_bytes)}, and "
        f"{megabytes(expected.shared_bytes)} more if they were not shared",
        soft_wrap=True,
    )
    for kind, ms in expected.frame_ms.items():
        height, width = expected.sizes[kind]
        out.print(
            f"{kind} frames, {width}x{height}, every region on its dearest route: at least {ms:.1f} ms by the "
            "target's roofline (not measured)",
            soft_wrap=True,
        )
    for kind, held in expected.peak_bytes.items():
        height, width = expected.sizes[kind]
        out.print(
            f"{kind} frames, {width}x{height}: {megabytes(held)} of activations at the fullest, by their shapes",
            soft_wrap=True,
        )
    if expected.build_seconds:
        out.print(f"`edgeflow build` on the device: very roughly {expected.build_seconds / 60:.0f} minutes")
    if expected.support:
        print_support(expected.support)
