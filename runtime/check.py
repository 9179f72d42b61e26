"""Checks a bundle on this machine, from its golden vectors, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import ceil, log10
from typing import Any

import numpy as np

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.golden import read_clip, sampled
from edgeflow.ir.errors import BundleError, NotBuiltError
from edgeflow.ir.plan import Plan
from edgeflow.runtime.backends import Backend
from edgeflow.runtime.checking.engines import GraphCheck, check_engine, golden_size
from edgeflow.runtime.checking.gates import GATES, MOVES, Gate
from edgeflow.runtime.checking.other_processor import judged_elsewhere
from edgeflow.runtime.checking.sizes import check_sizes
from edgeflow.runtime.machine import instruction_sets
from edgeflow.runtime.session import Session
from edgeflow.runtime.stream.loading import dims_of
from edgeflow.runtime.stream.rows import Array
from edgeflow.runtime.stream.trace import Result


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
        moved: by how much the model's own outputs move when its inputs change in the last digit.
        own_flips: decisions that this changes.
    """

    frames: str
    calls: int
    psnr_db: float
    flips: int
    decisions: int
    rounding: int
    gate: Gate
    moved: float = 0.0
    own_flips: int = 0

    @property
    def minimum_psnr_db(self) -> float:
        """What is asked for: the gate, or less where the model itself moves by more."""
        own = -20 * log10(max(MOVES * self.moved, 1e-10))
        return min(self.gate.psnr_db, own)

    @property
    def passed(self) -> bool:
        """Close enough, and no more decisions changed than may."""
        few = self.flips <= max(self.gate.flip_rate * self.decisions, 2 * self.own_flips)
        levels = (
            max(self.gate.rounding, ceil(255 * MOVES * self.moved))
            if self.moved > 1e-4
            else self.gate.rounding
        )
        return self.psnr_db >= self.minimum_psnr_db and few and self.rounding <= levels


@dataclass(frozen=True)
class CheckReport:
    """What was compared with which engine library, on which processor.

    Attributes:
        library: engine library.
        version: of the library.
        precision: of the bundle.
        instructions: sets of this processor that precision depends on.
        judged_on: the sets of the processor that judged the engines at export, in words, if it is of another kind.
        graphs: every engine.
        clips: whole frames.
        not_built: kinds of frames of which nothing was compared, since this device has no engines for them.
        accelerator: in words, what engines ran on if that is not the processor.
    """

    library: str
    version: str
    precision: str
    instructions: tuple[str, ...]
    judged_on: str
    graphs: tuple[GraphCheck, ...]
    clips: tuple[ClipCheck, ...]
    not_built: tuple[str, ...] = ()
    accelerator: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything passed."""
        return all(g.passed for g in self.graphs) and all(c.passed for c in self.clips)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        graphs = [{**asdict(g), "passed": g.passed} for g in self.graphs]
        clips = [{**asdict(c), "passed": c.passed} for c in self.clips]
        return {**asdict(self), "passed": self.passed, "graphs": graphs, "clips": clips}


def check(
    bundle: Bundle,
    *,
    library: str | None = None,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> CheckReport:
    """Compare every engine, and whole frames, with what the eager flow said at export, at fp32.

    Raises:
        BackendError: the engine library is missing or refuses a graph, or no plan's engines are built here.
    """
    graphs: dict[str, GraphCheck] = {}
    clips = []
    missing: dict[str, NotBuiltError] = {}
    backend: Backend | None = None
    precision = bundle.manifest.target["precision"]
    for kind, plan in bundle.manifest.plans.items():
        golden = golden_clip(bundle, kind)
        session = Session(bundle, library=library, threads=threads, exact=True, prove=False)
        size = golden_size(golden, plan)
        try:
            session.prepare(*size)
        except NotBuiltError as error:
            missing[kind] = error
            continue
        backend = session.backend
        _check_engines(bundle, session, size, graphs, progress)
        progress(f"{kind} clip")
        exact = _run_all(session, plan, golden)
        del session  # a small device holds the engines of one session
        progress(f"{kind} frames of other sizes")
        graphs |= {found.graph: found for found in check_sizes(bundle, kind, backend)}
        rounded = _run_all(Session(bundle, library=library, threads=threads, prove=False), plan, golden)
        clips.append(_check_clip(kind, plan, golden, exact, rounded, GATES[precision]))
    if backend is None:
        raise next(iter(missing.values()))
    return CheckReport(
        backend.name,
        backend.version,
        precision,
        instruction_sets(),
        judged_elsewhere(bundle),
        tuple(graphs.values()),
        tuple(clips),
        tuple(missing),
        backend.accelerator,
    )


def check_frames(bundle: Bundle, kind: str, library: str) -> ClipCheck:
    """Compare whole frames alone, of one plan, with what the eager flow said at export, at fp32.

    Raises:
        BackendError: the engine library is missing or refuses a graph.
    """
    plan, golden = bundle.manifest.plans[kind], golden_clip(bundle, kind)
    exact, rounded = (
        _run_all(Session(bundle, library=library, exact=exact, prove=False), plan, golden)
        for exact in (True, False)
    )
    return _check_clip(kind, plan, golden, exact, rounded, GATES[bundle.manifest.target["precision"]])


def _check_engines(
    bundle: Bundle,
    session: Session,
    size: tuple[int, int],
    graphs: dict[str, GraphCheck],
    progress: Callable[[str], None],
) -> None:
    """Check a session's engines that were not checked yet."""
    assert session.executor is not None
    for key, loaded in session.executor.loaded.items():
        if key not in graphs:
            progress(loaded.graph.graph)
            graphs[key] = check_engine(bundle, loaded, session.backend.memory, dims_of(size))


def golden_clip(bundle: Bundle, kind: str) -> dict[str, Array]:
    """The golden calls of a plan: inputs, outputs and routes.

    Raises:
        BundleError: there are none, or they are damaged.
    """
    return read_clip(bundle.path, kind, bundle.manifest.plans[kind])


def _run_all(session: Session, plan: Plan, golden: Mapping[str, Array]) -> list[Result]:
    """What a session makes of every golden call, in order."""
    calls = len({name.split(".")[0] for name in golden})
    return [
        session.run(*(golden[f"{call}.in.{i}"] for i in range(len(plan.inputs)))) for call in range(calls)
    ]


def _check_clip(
    kind: str, plan: Plan, golden: Mapping[str, Array], exact: list[Result], rounded: list[Result], gate: Gate
) -> ClipCheck:
    squared, peak, flips, decisions, rounding = [], 1.0, 0, 0, 0
    for call, (result, images) in enumerate(zip(exact, rounded, strict=True)):
        for i, spec in enumerate(plan.outputs):
            expected = golden[f"{call}.out.{i}"]
            if expected.shape != sampled(result.outputs[i]).shape:
                raise BundleError(
                    f"the golden {call}.out.{i} has {expected.size} elements, not those of {spec.name!r}: export the bundle again"
                )
            squared.append(float(np.mean((sampled(result.outputs[i]).astype(np.float64) - expected) ** 2)))
            if spec.image:
                levels = sampled(np.ascontiguousarray(images.outputs[i].transpose(2, 0, 1)))
                off = np.abs(levels - np.clip(expected, 0, 1) * 255).max()
                rounding = max(rounding, int(np.ceil(off - 0.501)))
            else:
                peak = max(peak, float(np.abs(expected).max()))
        for name, taken in _decisions(plan, result).items():
            own = golden[f"{call}.route.{name}"].ravel().tolist()
            if len(own) != len(taken):
                raise BundleError(
                    f"the golden {call}.route.{name} has {len(own)} regions, not {len(taken)}: export the bundle again"
                )
            decisions += len(own)
            flips += sum(a != b for a, b in zip(own, taken, strict=True))
    error = max(float(np.mean(squared)), 1e-20)
    psnr = float(10 * np.log10(peak**2 / error))
    moved = (
        max((float(golden[name].max(initial=0)) for name in golden if ".moved." in name), default=0.0) / peak
    )
    own_flips = sum(int(golden[name].sum()) for name in golden if ".flips." in name)
    return ClipCheck(kind, len(exact), psnr, flips, decisions, rounding, gate, moved, own_flips)


def _decisions(plan: Plan, result: Result) -> dict[str, list[int]]:
    """Per variable, the chosen index of every region, as the session's trace has it."""
    choices = result.trace.choices
    return {v.name: [v.axis.index(choice) for choice in choices[v.name]] for v in plan.variables}
