"""What moved from one profile to another, beyond what chance explains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.costs import Costs, all_costs
from edgeflow.ir.errors import InputError
from edgeflow.runtime.measure.profile import engine_name

RESAMPLES = 2000
SURE = 0.99
"""The share of resamples that an interval holds, of all comparisons together: each gets its part of what is left."""
LEAST = 0.03
"""Changes below this share are none, however sure: clocks of two runs differ by as much."""
UNSAMPLED = 0.10
"""Where no single runs were kept, only medians, changes below this share are none."""
MIX = 0.01
"""A route whose share of the regions changes by this much, or more, has moved."""


@dataclass(frozen=True)
class Measured:
    """Some runs of one thing, in milliseconds; of a bundle's kept measurements only their median."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the runs."""
        return float(np.median(self.samples))


@dataclass(frozen=True)
class Snapshot:
    """What one profile measured.

    Attributes:
        name: of the file or bundle.
        machine: what it ran on, with what.
        engines: by name and batch size.
        frame: whole calls; None without a clip.
        flops: mean FLOPs of a call.
        routes: share of the regions by route.
        between_ms: mean milliseconds of a call outside engines.
        size: (width, height) of the frames.
    """

    name: str
    machine: str
    engines: Mapping[str, Measured]
    frame: Measured | None = None
    flops: float = 0.0
    routes: Mapping[str, float] | None = None
    between_ms: float = 0.0
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Change:
    """One thing, before and after.

    Attributes:
        what: engine, `frame` or another.
        before: milliseconds, the median.
        after: milliseconds, the median.
        ratio: after over before.
        low: end of its interval.
        high: end of its interval.
        verdict: `slower`, `faster` or `same`.
    """

    what: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Changes:
    """What moved.

    Attributes:
        engines: those that both have.
        frame: whole calls, if both have them.
        machine: what ran them, before and after, if that is not the same.
        everything: the ratio by which the usual engine moved, if it did: then clocks, threads, other programs or a library did.
        flops: of a call, after over before; None without clips.
        routes: share of the regions before and after, of routes that moved.
        between: milliseconds outside engines, before and after; None without clips.
        only_before: engines that are gone.
        only_after: engines that came.
    """

    engines: tuple[Change, ...]
    frame: Change | None
    machine: tuple[str, str] | None
    everything: float | None
    flops: float | None
    routes: Mapping[str, tuple[float, float]]
    between: tuple[float, float] | None
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What got slower."""
        all_of_them = (*([self.frame] if self.frame else []), *self.engines)
        return tuple(change for change in all_of_them if change.verdict == "slower")


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """Compare two profiles.

    The interval of a ratio of medians is a percentile bootstrap: runs are drawn anew from both sides, independently (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993). Engines are paired by name and batch size.

    Raises:
        InputError: they have nothing in common, or are of frames of two sizes.
    """
    if before.size and after.size and before.size != after.size:
        sizes = " and ".join("x".join(map(str, size)) for size in (before.size, after.size))
        raise InputError(
            f"{before.name} and {after.name} are of frames of {sizes}: profile both with one --clip"
        )
    shared = [name for name in before.engines if name in after.engines]
    frames = before.frame is not None and after.frame is not None
    if not shared and not frames:
        raise InputError(
            f"{before.name} and {after.name} have no engine in common: they are profiles of different models"
        )
    sure = 1 - (1 - SURE) / (len(shared) + frames)
    engines = tuple(_change(name, before.engines[name], after.engines[name], sure) for name in shared)
    usual = float(np.median([change.ratio for change in engines])) if engines else 1.0
    routes = _moved(before.routes or {}, after.routes or {}) if frames else {}
    return Changes(
        engines,
        _change("frame", before.frame, after.frame, sure) if before.frame and after.frame else None,
        (before.machine, after.machine) if before.machine != after.machine else None,
        usual if abs(usual - 1) > LEAST else None,
        after.flops / before.flops if frames and before.flops else None,
        routes,
        (before.between_ms, after.between_ms) if frames else None,
        tuple(name for name in before.engines if name not in after.engines),
        tuple(name for name in after.engines if name not in before.engines),
    )


def _change(what: str, before: Measured, after: Measured, sure: float) -> Change:
    ratio = after.median / max(before.median, 1e-9)
    if min(len(before.samples), len(after.samples)) < 2:
        low, high = ratio / (1 + UNSAMPLED), ratio * (1 + UNSAMPLED)
        least = 0.0
    else:
        random = np.random.default_rng(0)
        ratios = _medians(after.samples, random) / np.maximum(_medians(before.samples, random), 1e-9)
        low, high = (float(np.quantile(ratios, q)) for q in ((1 - sure) / 2, (1 + sure) / 2))
        least = LEAST
    verdict = "slower" if low > 1 + least else "faster" if high < 1 - least else "same"
    return Change(what, before.median, after.median, ratio, low, high, verdict)


def _medians(samples: Sequence[float], random: np.random.Generator) -> NDArray[np.float64]:
    """Medians of as many runs as there are, drawn with replacement: (resamples,)."""
    drawn = random.choice(np.array(samples), (RESAMPLES, len(samples)))
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians


def _moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    names = dict.fromkeys((*before, *after))
    pairs = {name: (before.get(name, 0.0), after.get(name, 0.0)) for name in names}
    return {name: pair for name, pair in pairs.items() if abs(pair[1] - pair[0]) >= MIX}


def of_profile(path: Path) -> Snapshot:
    """What `edgeflow profile --json` wrote.

    Raises:
        InputError: it cannot be read, is no profile, or one of an edgeflow that kept no single runs.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON ({error}): give what `edgeflow profile --json` wrote"
        ) from error
    try:
        return of_json(path.name, data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path} is no profile of this edgeflow (it lacks {error}): write it anew by `edgeflow profile --json`"
        ) from error


def of_json(name: str, data: Mapping[str, Any]) -> Snapshot:
    """What a profile says as JSON."""
    engines: dict[str, Measured] = {}
    for engine in data["engines"]:
        engines[_unlike(f"{engine['name']} x{engine['batch']}", engines)] = _of(engine["latency"])
    machine, clip = _in_words(data["device"]), data["clip"]
    if clip is None:
        return Snapshot(name, machine, engines)
    routes = {str(route): float(share) for route, share in clip["routes"].items()}
    frame, flops, between = _of(clip["latency"]), float(clip["flops"]), float(clip["host_ms"])
    width, height = map(int, clip["size"])
    return Snapshot(name, machine, engines, frame, flops, routes, between, (width, height))


def _of(latency: Mapping[str, Any]) -> Measured:
    samples = tuple(float(ms) for ms in latency["samples_ms"])
    if not samples or not np.isfinite(samples).all() or min(samples) < 0:
        raise ValueError("milliseconds of runs")
    return Measured(samples)


def _unlike(name: str, known: Mapping[str, Measured]) -> str:
    """A name that none has yet: parts of a model that are alike are told apart by their order."""
    number, own = 2, name
    while own in known:
        own, number = f"{name} ({number})", number + 1
    return own


def of_bundles(before: Bundle, after: Bundle) -> tuple[Snapshot, Snapshot]:
    """What two bundles keep of measurements on one device: medians, without single runs.

    Raises:
        InputError: no device measured both.
        BundleError: a file of measurements is damaged.
    """
    known = {costs.device.key: costs for costs in all_costs(before.path)}
    for costs in all_costs(after.path):
        if costs.device.key in known:
            return _kept(before, known[costs.device.key]), _kept(after, costs)
    raise InputError(
        f"no device measured both {before.path} and {after.path}: run `edgeflow profile` on both, on one machine"
    )


def _kept(bundle: Bundle, costs: Costs) -> Snapshot:
    engines: dict[str, Measured] = {}
    graphs = {graph.key: graph for plan in bundle.manifest.plans.values() for graph in plan.graphs}
    for key, graph in graphs.items():
        name = engine_name(bundle.manifest.graphs[graph.graph].segments, graph.variant)
        for batch, ms in costs.ms.get(key, {}).items():
            engines[_unlike(f"{name} x{batch}", engines)] = Measured((ms,))
    return Snapshot(bundle.path.name, _in_words(asdict(costs.device)), engines)


def _in_words(device: Mapping[str, Any]) -> str:
    library = f"{device['library']} {device['version']}"
    return f"{device['name']}, {device['threads']} threads, {library}, {device['precision']}"
