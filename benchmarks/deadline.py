"""A deadline held while another process loads the machine half way, beside the model's own routes and fixed ones of the same mean cost.

    python benchmarks/deadline.py rife.edgeflow clip.mp4 --family rife --cheap way=average --dear way=full --both extent=tiles
    python benchmarks/deadline.py cain.edgeflow clip.mp4 --family cain-sd --cheap "scale=4 exit=1" --dear "scale=1 exit=5"

Three runs of the same calls, one after the other: the model's own routes, the policy `Budget`, and a mix of two routes, fixed but for
which tiles take them, whose mean FLOPs are those of the budget's run. At half of the calls, other processes begin to compute. The
budget is the median of the model's own calls before that, times `--budget`. PSNR is against the pictures of the model's own routes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from records import record, save
from subject import parsed_size, pictures_of

from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.film import calls_of
from edgeflow.ir.route import Choice
from edgeflow.runtime import Budget, Fixed, Mix, Result, Session
from edgeflow.runtime.stream.budget import BudgetSteering
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.stream.trace import Trace

WARM, SETTLED = 12, 20
"""Calls that are not counted; calls in time after which a deadline counts as held again."""
KEY = ("family", "clip", "size", "library", "budget", "percentile", "load", "threads")


class Watched(Budget):
    """A budget that notes, per call, what the cheapest route would have taken."""

    def __init__(self, milliseconds: float, percentile: float) -> None:
        super().__init__(milliseconds, percentile)
        self.cheapest_ms: list[float] = []

    def steering(self, *of_plan: Any) -> BudgetSteering:
        steering = super().steering(*of_plan)
        ended: Callable[[Trace], None] = steering.ended

        def noted(trace: Trace) -> None:
            costs = steering.costs
            self.cheapest_ms.append(trace.total_ms * costs.frame({}) / costs.frame(steering.routes))
            ended(trace)

        steering.ended = noted  # type: ignore[method-assign]
        return steering


@dataclass(frozen=True)
class Run:
    """Per call: milliseconds, FLOPs, and the picture."""

    ms: NDArray[np.float64]
    flops: NDArray[np.float64]
    pictures: Sequence[NDArray[np.uint8]]


def main(
    bundle: Path,
    clip: Path,
    family: str = "",
    cheap: Annotated[str, typer.Option(help="The cheaper route of the mix.")] = "",
    dear: Annotated[str, typer.Option(help="The dearer one.")] = "",
    both: Annotated[str, typer.Option(help="What both have in common.")] = "",
    calls: int = 300,
    budget: Annotated[
        float, typer.Option(help="Over the median of the model's own calls without load.")
    ] = 1.0,
    percentile: float = 99.0,
    load: Annotated[int, typer.Option(help="Processes that compute in the second half.")] = 2,
    size: str = "640x360",
    threads: int = 2,
) -> None:
    """Measure and save results/deadline.json."""
    opened = open_bundle(bundle)
    pictures = pictures_of(clip, calls + WARM + 1, parsed_size(size))
    given = list(calls_of(opened.manifest.task, pictures))[: calls + WARM]
    routes = [_route(f"{own} {both}") for own in (cheap, dear)]

    def run(*policies: Policy | None, shares: float = 0.0) -> Run:
        sessions = [Session(opened, policy=policy, threads=threads) for policy in policies]
        return _run(sessions, shares, given, load)

    own = run(None)
    allowed = budget * float(np.median(own.ms[: calls // 2]))
    watched = Watched(allowed, percentile)
    held = run(watched)
    mixed = _mixed(routes, *(_costs(opened, r, given[0], threads) for r in routes), float(held.flops.mean()))
    by_mix = run(*mixed.mixes, shares=mixed.second)
    half = calls // 2
    possible = np.array(watched.cheapest_ms[-calls:]) <= allowed
    found = {
        "budget_ms": allowed,
        "own_ms": float(np.median(own.ms[:half])),
        "own_loaded_ms": float(np.median(own.ms[half:])),
        "own_within": float((own.ms <= allowed).mean()),
        "within": float((held.ms <= allowed).mean()),
        "within_possible": float((held.ms[possible] <= allowed).mean()),
        "possible": float(possible.mean()),
        "within_loaded": float((held.ms[half:] <= allowed).mean()),
        "mix_within": float((by_mix.ms <= allowed).mean()),
        "psnr": _psnr(own, held),
        "mix_psnr": _psnr(own, by_mix),
        "until_held": _until_held(held.ms[half:] <= allowed),
        "flops_share": float(held.flops.mean() / own.flops.mean()),
        "mix_flops_share": float(by_mix.flops.mean() / own.flops.mean()),
        "swing": _swing(held),
        "own_swing": _swing(own),
    }
    about = {"family": family or bundle.stem, "clip": clip.stem, "size": size, "calls": calls, "load": load}
    about |= {
        "library": opened.manifest.target["library"],
        "budget": budget,
        "percentile": percentile,
        "threads": threads,
    }
    print(about | found)
    save("deadline", [record(**about, **found)], KEY)


def _run(sessions: Sequence[Session], second: float, calls: Sequence[Any], load: int) -> Run:
    """All calls, a share of them by the second session, evenly, and the second half of those that count beside other processes."""
    results: list[tuple[float, int, NDArray[np.uint8]]] = []
    half = WARM + (len(calls) - WARM) // 2
    by = [sessions[int((n + 1) * second) - int(n * second)] for n in range(len(calls))]
    for session, call in zip(by[:half], calls[:half], strict=True):
        results.append(_kept(session.run(*call)))
    with _loaded(load):
        for session, call in zip(by[half:], calls[half:], strict=True):
            results.append(_kept(session.run(*call)))
    ms, flops, pictures = zip(*results[WARM:], strict=True)
    return Run(np.array(ms), np.array(flops, np.float64), pictures)


def _kept(result: Result) -> tuple[float, int, NDArray[np.uint8]]:
    return result.trace.total_ms, result.trace.flops, result.outputs[0]


@contextmanager
def _loaded(processes: int) -> Iterator[None]:
    """Beside processes that compute."""
    started = [
        multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(processes)
    ]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


def _spin() -> None:
    pixels = np.ones((256, 256), np.float32)
    while True:
        pixels = pixels @ pixels / 256


def _route(text: str) -> dict[str, Choice]:
    values = (pair.split("=") for pair in text.split())
    return {name: int(value) if value.isdigit() else value for name, value in values}


def _costs(bundle: Bundle, route: dict[str, Choice], call: Any, threads: int) -> tuple[int, int]:
    """FLOPs of a call whose regions all take one route, and how many regions it has."""
    trace = Session(bundle, policy=Fixed(**route), threads=threads).run(*call).trace
    return sum(engine.flops * engine.regions for engine in trace.engines), len(trace.regions)


@dataclass(frozen=True)
class Mixed:
    """Two mixes of routes, and the share of calls that take the second, so that mean FLOPs are what is wanted to a fraction of a region."""

    mixes: tuple[Policy, Policy]
    second: float


def _mixed(
    routes: Sequence[dict[str, Choice]], low: tuple[int, int], high: tuple[int, int], wanted: float
) -> Mixed:
    """Fixed shares of two routes with these mean FLOPs."""
    regions = high[1]
    dear = float(np.clip((wanted - low[0]) / (high[0] - low[0]), 0, 1)) * regions
    mixes = tuple(_mix(routes, min(int(dear) + more, regions), regions) for more in (0, 1))
    return Mixed((mixes[0], mixes[1]), dear % 1)


def _mix(routes: Sequence[dict[str, Choice]], dear: int, regions: int) -> Policy:
    """The second route in so many regions, the first in the others."""
    if dear in (0, regions):
        return Fixed(**routes[dear > 0])
    return Mix([(1 - dear / regions, routes[0]), (dear / regions, routes[1])])


def _psnr(own: Run, other: Run) -> float:
    """Of all pictures together, against those of the model's own routes; 99 where they are equal."""
    pairs = zip(own.pictures, other.pictures, strict=True)
    error = np.mean([np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2) for a, b in pairs])
    return float(min(10 * np.log10(255**2 / max(error, 1e-6)), 99.0))


def _until_held(within: NDArray[np.bool_]) -> int:
    """Calls from the load's begin until `SETTLED` in succession are in time."""
    for first in range(len(within) - SETTLED + 1):
        if within[first : first + SETTLED].all():
            return first
    return len(within)


def _swing(run: Run) -> float:
    """How much the work changes from call to call, over its mean."""
    return float(np.abs(np.diff(run.flops)).mean() / run.flops.mean())


if __name__ == "__main__":
    typer.run(main)
