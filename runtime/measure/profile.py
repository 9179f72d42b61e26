"""Measures a bundle on this machine: every engine at every batch size, and whole frames of a clip."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from time import sleep
from typing import Any

import numpy as np

from edgeflow import __version__
from edgeflow.ir.bundle import WEIGHTS, Bundle
from edgeflow.ir.bundle.beside_static import Beside
from edgeflow.ir.bundle.costs import Costs, Device
from edgeflow.ir.film import calls_of
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.route_shares import shares
from edgeflow.ir.program import region_counts
from edgeflow.ir.route import Assignment
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.device import RUNS, SECONDS, timed
from edgeflow.runtime.machine import cpu_name, instruction_sets, peak_bytes, resident_bytes
from edgeflow.runtime.measure.beside_static import advice
from edgeflow.runtime.measure.energy import CallEnergy, of_calls
from edgeflow.runtime.measure.realisation import WARMUP, Compared, compare
from edgeflow.runtime.measure.tegrastats import machine_sensors
from edgeflow.runtime.measure.waterfall import Waterfall
from edgeflow.runtime.session import Session, declared_size
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.room import bytes_needed
from edgeflow.runtime.stream.rows import Array
from edgeflow.runtime.stream.trace import Trace

PAUSE_S = 10.0
"""Seconds without frames, of which the first frame after them is measured."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds over several runs, each of them in the order in which it was made."""

    runs: int
    mean_ms: float
    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    samples_ms: tuple[float, ...]

    @staticmethod
    def of(times_ms: Sequence[float]) -> Latency:
        """Summarise measured times."""
        p50, p90, p95, p99 = (float(np.percentile(times_ms, p)) for p in (50, 90, 95, 99))
        least, most, mean = min(times_ms), max(times_ms), float(np.mean(times_ms))
        samples = tuple(round(ms, 4) for ms in times_ms)
        return Latency(len(times_ms), mean, p50, p90, p95, p99, least, most, samples)


@dataclass(frozen=True)
class EngineProfile:
    """One engine at one batch size.

    Attributes:
        name: what it computes, and the part of a route that its shapes are for.
        key: that of the plan's graph.
        graph: its id.
        segments: that it computes.
        batch: rows of a run.
        latency: of a run.
        throughput: rows a second, at the mean.
        gflops: its rate at the median.
    """

    name: str
    key: str
    graph: str
    segments: tuple[str, ...]
    batch: int
    latency: Latency
    throughput: float
    gflops: float


@dataclass(frozen=True)
class MemoryProfile:
    """Bytes.

    Attributes:
        weights: of the bundle, each once, as they lie on disk.
        engines: that this process grew by while it loaded them all; other allocations of theirs included.
        tensors: of one frame between engines, by the plan.
        peak: that this process ever held; None where the system does not say.
    """

    weights: int
    engines: int
    tensors: int
    peak: int | None


@dataclass(frozen=True)
class ClipProfile:
    """Whole frames of a clip.

    Attributes:
        frames: calls measured.
        size: (width, height) of the frames in pixels.
        latency: of a call.
        fps: calls per second, from the mean.
        engines_ms: mean time in the engine library per call.
        overhead: mean call time over mean engine time.
        stages_ms: mean time per stage and call.
        flops: mean FLOPs per call, padding included.
        dearest_flops: FLOPs if every region took the dearest route.
        routes: share of the regions that took each route.
        gathered_rows: mean rows copied per call to form batches.
        padding: share of the rows run that were padding.
        host_ms: mean time outside engines per call: batches, tiles, states and Python.
        copies_ms: of that, mean time in which tensors were copied: rows gathered, tiles cut and stitched, states written.
        full: the full static model in words.
        full_latency: of a call of that, in turn with these.
        after_pause_ms: of a call after `PAUSE_S` seconds without any, on a device whose clocks fall meanwhile; None on
            a processor.
        advice: what would help, of a bundle that is slower than its full static model here.
    """

    frames: int
    size: tuple[int, int]
    latency: Latency
    fps: float
    engines_ms: float
    overhead: float
    stages_ms: dict[str, float]
    flops: float
    dearest_flops: int
    routes: dict[str, float]
    gathered_rows: float
    padding: float
    host_ms: float
    copies_ms: float
    full: str
    full_latency: Latency
    after_pause_ms: float | None = None
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProfileReport:
    """What was measured, on what, with what.

    Attributes:
        machine: in words.
        library: engine library.
        version: of the library.
        engines: every engine at every batch size.
        memory: what the bundle takes here.
        clip: whole frames, if there was a clip.
        waterfall: where their time goes; None if no operator counts FLOPs.
        energy: of the clip's calls; None without a clip, or where the machine does not tell.
        calls: what every call of the clip did, in order; not part of the JSON.
        method: how it was measured.
    """

    machine: dict[str, Any]
    device: Device
    library: str
    version: str
    engines: tuple[EngineProfile, ...]
    memory: MemoryProfile
    clip: ClipProfile | None
    waterfall: Waterfall | None
    energy: CallEnergy | None
    calls: tuple[Trace, ...]
    method: str = (
        f"wall clock; engines: one run unmeasured, then up to {RUNS} runs or {SECONDS} s for each batch size, "
        "which take turns; "
        f"clip: calls after {WARMUP} unmeasured ones, without decoding and encoding, in turn with the full "
        "static model; waterfall: means over the half of these calls that was disturbed neither most nor least, "
        "operators' shares from engines that time them; energy: the clip's calls one after another for some seconds, by the system's counters "
        "and rails"
    )

    @property
    def costs(self) -> Costs:
        """The engines' medians, as a bundle keeps them."""
        ms: dict[str, dict[int, float]] = {}
        for engine in self.engines:
            ms.setdefault(engine.key, {})[engine.batch] = engine.latency.median_ms
        return Costs(self.device, ms)

    @property
    def frame(self) -> Trace | None:
        """The call that took the median time, for its timeline."""
        ordered = sorted(self.calls, key=lambda trace: trace.total_ms)
        return ordered[len(ordered) // 2] if ordered else None

    def beside(self, clip: str) -> Beside | None:
        """What routing was worth on the clip of this name; None without one."""
        if self.clip is None:
            return None
        measured = self.clip
        return Beside(
            device=self.device,
            clip=clip,
            size=measured.size,
            calls=measured.frames,
            routes=measured.routes,
            full=measured.full,
            routed_ms=measured.latency.median_ms,
            full_ms=measured.full_latency.median_ms,
            advice=measured.advice,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        data = asdict(replace(self, calls=()))
        del data["calls"]
        return {"edgeflow": __version__, **data}


def machine() -> dict[str, Any]:
    """This machine, in words."""
    return {
        "cpu": cpu_name(),
        "instructions": instruction_sets(),
        "threads": len(os.sched_getaffinity(0)),
        "system": platform.platform(terse=True),
    }


def profile(
    bundle: Bundle,
    frames: Iterable[Array] = (),
    *,
    size: tuple[int, int] | None = None,
    library: str | None = None,
    threads: int | None = None,
    static: Bundle | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> ProfileReport:
    """Measure a bundle.

    Args:
        bundle: what to measure.
        frames: successive frames (h, w, 3) uint8 of a clip; none to measure engines alone.
        size: (height, width) to load the engines for, if there are no frames.
        library: engine library; the target's by default.
        threads: CPU threads.
        static: the full static model to compare with, if it is faster than the bundle's dearest route.
        progress: told what is being measured.

    Raises:
        InputError: the clip is too short, or does not fit a bundle, or `static` has decisions.
    """
    session = Session(bundle, library=library, threads=threads)
    calls = list(calls_of(bundle.manifest.task, frames))
    compared = Compared((), (), "", None)
    first = next(iter(bundle.manifest.plans.values()))
    size = calls[0][0].shape[-3:-1] if calls else size or declared_size(first.inputs) or (720, 1280)
    before = resident_bytes()
    session.prepare(*size)
    engine_bytes = resident_bytes() - before
    if calls:
        compared = compare(
            bundle, calls, library=session.backend.name, threads=threads, static=static, progress=progress
        )
    assert session.executor is not None
    clip = _clip(compared, calls[0][0], session.executor.dearest_flops()) if calls else None
    if clip and session.backend.accelerator:
        clip = replace(clip, after_pause_ms=_after_a_pause(session, calls[0]))
    if clip and clip.latency.median_ms > clip.full_latency.median_ms:
        host = clip.host_ms / clip.latency.mean_ms
        clip = replace(clip, advice=tuple(advice(session.executor.plan, session.backend.name, host)))
    with machine_sensors() as sensors:
        energy = of_calls(session.run, calls[WARMUP:], sensors) if calls else None
    engines = tuple(_profile_engines(bundle, session.executor, session.backend.memory, progress))
    memory = _memory(bundle, session.executor.plan, size, engine_bytes)
    who = machine(), session.device, session.backend.name, session.backend.version
    return ProfileReport(*who, engines, memory, clip, compared.waterfall, energy, compared.routed)


def _memory(bundle: Bundle, plan: Plan, size: tuple[int, int], engines: int) -> MemoryProfile:
    weights = (bundle.path / WEIGHTS).stat().st_size if (bundle.path / WEIGHTS).exists() else 0
    tensors = bytes_needed(plan, size, region_counts(plan.steps, size))
    return MemoryProfile(weights, max(engines, 0), tensors, peak_bytes())


def _after_a_pause(session: Session, call: tuple[Array, ...]) -> float:
    """Milliseconds of a frame that comes after some seconds without any: a device has lowered its clocks by then."""
    for _ in range(WARMUP):
        session.run(*call)
    sleep(PAUSE_S)
    return session.run(*call).trace.total_ms


def _profile_engines(
    bundle: Bundle, executor: Executor, memory: Memory, progress: Callable[[str], None]
) -> Iterable[EngineProfile]:
    for loaded in executor.loaded.values():
        graph = loaded.graph
        progress(graph.graph)
        inputs, outputs = (
            [replace(port, shape=executor.sizes(port.shape)) for port in ports]
            for ports in (graph.inputs, loaded.outputs)
        )
        for batch, times in timed(loaded.engine, memory, inputs, outputs, graph.batches).items():
            latency = Latency.of(times)
            rate = graph.flops_at(executor.size) * batch / latency.median_ms / 1e6
            segments = bundle.manifest.graphs[graph.graph].segments
            rows, name = 1e3 * batch / latency.mean_ms, engine_name(segments, graph.variant)
            yield EngineProfile(name, graph.key, graph.graph, segments, batch, latency, rows, rate)


def engine_name(segments: Sequence[str], variant: Assignment) -> str:
    """What an engine is: its segments, or the first and the last of many, and what its shapes are for."""
    ends = ", ".join(segments) if len(segments) < 3 else f"{segments[0]} to {segments[-1]}"
    return " ".join([ends, *(f"{name}={value}" for name, value in variant)])


def _clip(compared: Compared, frame: Array, dearest_flops: int) -> ClipProfile:
    traces = compared.routed
    total = [trace.total_ms for trace in traces]
    engines = float(np.mean([trace.engines_ms for trace in traces]))
    stages: Counter[str] = Counter()
    rows = regions = 0
    for trace in traces:
        for engine in trace.engines:
            stages[engine.stage] += engine.ms  # type: ignore[assignment]
            rows += sum(engine.batches)
            regions += engine.regions
    return ClipProfile(
        frames=len(traces),
        size=(frame.shape[-2], frame.shape[-3]),
        latency=Latency.of(total),
        fps=1e3 / float(np.mean(total)),
        engines_ms=engines,
        overhead=float(np.mean(total)) / engines,
        stages_ms={name: ms / len(traces) for name, ms in stages.items()},
        flops=float(np.mean([trace.flops for trace in traces])),
        dearest_flops=dearest_flops,
        routes=shares([region.route for trace in traces for region in trace.regions]),
        gathered_rows=float(np.mean([trace.gathered for trace in traces])),
        padding=1 - regions / rows,
        host_ms=float(np.mean(total)) - engines,
        copies_ms=float(np.mean([trace.spent("gather", "cut", "stitch", "keep") for trace in traces])),
        full=compared.full_name,
        full_latency=Latency.of([trace.total_ms for trace in compared.full]),
    )
