"""What a model's routes are worth: quality against time, of several policies in turn on the same frames of a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.film import calls_of
from edgeflow.ir.plan.routes import full_route
from edgeflow.ir.task import Task
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.measure.profile import Latency
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.runtime.stream.policy import Fixed, Policy
from edgeflow.runtime.stream.trace import Trace

WARMUP = 2
"""Calls that are run before measuring."""
DEAREST = "dearest route"
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Worth:
    """One policy on a clip.

    Attributes:
        name: of the policy.
        latency: of its calls.
        gflops: of a call, mean.
        psnr: of its pictures, mean in dB; None of a model that makes labels.
        worst_psnr: of the picture that is farthest off.
        flicker: how much the error changes from a picture to the next: mean absolute difference, in levels of 255.
        ssim: mean structural similarity of its pictures, where that was asked for.
        agreement: share of calls whose best label is the reference's; None of a model that makes pictures.
        routes: per decision, which share of its regions took which value.
    """

    name: str
    latency: Latency
    gflops: float
    psnr: float | None
    worst_psnr: float | None
    flicker: float | None
    agreement: float | None
    routes: Mapping[str, Mapping[str, float]]
    ssim: float | None = None

    @property
    def quality(self) -> float:
        """Its SSIM if that was asked for, its PSNR, or its agreement."""
        found = (self.ssim, self.psnr, self.agreement)
        return next((value for value in found if value is not None), 0.0)


@dataclass(frozen=True)
class Report:
    """Several policies on a clip.

    Attributes:
        reference: what they are compared with.
        calls: of each policy.
        warmup: calls before them that are not counted.
        size: (width, height) of the frames.
        library: with its version.
        each: in the order that they were given, the dearest route last.
    """

    reference: str
    calls: int
    warmup: int
    size: tuple[int, int]
    library: str
    each: tuple[Worth, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass
class _Contender:
    """A policy as it is measured."""

    name: str
    executor: Executor
    made: list[NDArray[Any]] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)


def worth(
    bundle: Bundle,
    frames: Sequence[Picture],
    policies: Mapping[str, Policy],
    *,
    library: str | None = None,
    threads: int | None = None,
    similarity: Callable[[Picture, Picture], float] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Run policies in turn on every call of a clip, with the dearest route beside them.

    An interpolator has every second frame left out, which is the truth that its pictures are compared with. What other models
    make is compared with what their dearest route makes.

    Args:
        bundle: of the model.
        frames: of the clip (h, w, 3) uint8, of one size.
        policies: by name.
        library: engine library; the target's if None.
        threads: CPU threads.
        similarity: structural similarity of two pictures, if that is wanted.
        progress: told how many calls are done, and of how many.

    Raises:
        InputError: the clip is too short, or the model makes neither pictures nor labels.
    """
    task = bundle.manifest.task
    left_out = _leaves_out(task)
    calls = list(calls_of(task, frames[::2] if left_out else frames))
    if len(calls) <= WARMUP:
        raise InputError(
            f"the clip has {len(calls)} calls, {WARMUP} of them warm up: give a longer clip, or more --frames"
        )
    place = _judged(task)
    contenders, name = _load(bundle, policies, calls[0], library, threads)
    for number, call in enumerate(calls):
        for contender in contenders:
            result = contender.executor.run(call)
            contender.made.append(result.outputs[place])
            contender.traces.append(result.trace)
        progress(number + 1, len(calls))
    truth = list(frames[1::2]) if left_out else contenders[-1].made
    height, width = frames[0].shape[:2]
    return Report(
        "frames that were left out" if left_out else f"the {DEAREST}",
        len(calls) - WARMUP,
        WARMUP,
        (width, height),
        name,
        tuple(_worth(each, truth, task.outputs[place].kind, similarity) for each in contenders),
    )


def _leaves_out(task: Task) -> bool:
    """Whether frames of a film can be left out to be predicted."""
    (first, *others) = task.outputs
    return not others and first.kind == "image" and first.scale == 1 and first.time - task.base == 0.5


def _judged(task: Task) -> int:
    """The output that is compared: the first picture, or else the first labels.

    Raises:
        InputError: there is neither.
    """
    for kind in ("image", "labels"):
        for place, made in enumerate(task.outputs):
            if made.kind == kind:
                return place
    raise InputError(
        "this model makes neither pictures nor labels, of which there is a measure: use edgeflow profile"
    )


def _load(
    bundle: Bundle,
    policies: Mapping[str, Policy],
    call: Sequence[NDArray[Any]],
    library: str | None,
    threads: int | None,
) -> tuple[list[_Contender], str]:
    """An executor for each policy, over the same engines, the dearest route last; and the library's name."""
    backend = open_backend(library or bundle.manifest.target["library"], threads)
    size = call[0].shape[-3], call[0].shape[-2]
    plan = select_plan(bundle.manifest.plans, *size)
    route = full_route(plan, size)
    every = {**policies, DEAREST: Fixed(**route)} if route else dict(policies)
    loaded = load_graphs(bundle, plan, backend, size)
    return [
        _Contender(name, Executor(plan, loaded, backend.memory, policy, size))
        for name, policy in every.items()
    ], f"{backend.name} {backend.version}, {backend.threads} threads"


def _worth(
    contender: _Contender,
    truth: Sequence[NDArray[Any]],
    kind: str,
    similarity: Callable[[Picture, Picture], float] | None,
) -> Worth:
    traces = contender.traces[WARMUP:]
    pairs = list(zip(contender.made[WARMUP:], truth[WARMUP:], strict=False))
    decibels = [_psnr(own, true) for own, true in pairs] if kind == "image" else []
    alike = [] if decibels else [own.argmax() == true.argmax() for own, true in pairs]
    return Worth(
        contender.name,
        Latency.of([trace.total_ms for trace in traces]),
        float(np.mean([trace.flops for trace in traces])) / 1e9,
        float(np.mean(decibels)) if decibels else None,
        min(decibels) if decibels else None,
        _flicker(pairs) if decibels else None,
        float(np.mean(alike)) if alike else None,
        _routes(traces),
        float(np.mean([similarity(own, true) for own, true in pairs])) if decibels and similarity else None,
    )


BEST_DB = 100.0
"""PSNR of pictures that are equal."""


def _psnr(own: NDArray[Any], true: NDArray[Any]) -> float:
    error = float(np.square(own.astype(np.float32) - true).mean())
    return min(10 * float(np.log10(255**2 / error)), BEST_DB) if error else BEST_DB


def _flicker(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    errors = [own.astype(np.float32) - true for own, true in pairs]
    steps = [float(np.abs(after - before).mean()) for before, after in pairwise(errors)]
    return float(np.mean(steps)) if steps else 0.0


def _routes(traces: Sequence[Trace]) -> dict[str, dict[str, float]]:
    counted: dict[str, Counter[str]] = {}
    for trace in traces:
        for name, taken in trace.choices.items():
            counted.setdefault(name, Counter()).update(map(str, taken))
    return {n: {v: k / sum(own.values()) for v, k in own.most_common()} for n, own in counted.items()}
