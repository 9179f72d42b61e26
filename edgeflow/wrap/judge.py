"""A wrapped network's bundle beside the static network on whole frames: time and quality on a clip."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log10
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.tiles import TileGrid
from edgeflow.runtime import Fixed, Session, Trace
from edgeflow.targets import Target
from edgeflow.wrap.film import LEVELS
from edgeflow.wrap.model import Tiling
from edgeflow.wrap.simulate import ASSUMED_DB, drop_of
from edgeflow.wrap.timing import compiled
from edgeflow.wrap.wrapping import Shown, Wrapping

Made = NDArray[Any]
WARM = 2
"""Calls that are run first, before the stream begins anew, and do not count."""


@dataclass(frozen=True)
class Worst:
    """The call whose picture is farthest from the static network's.

    Attributes:
        call: its number, from 0.
        psnr: of the routed picture against the static one, in dB.
        routed: the picture (h, w, 3) uint8, or what was made (c, h, w).
        static: the same of the static network.
        trace: of the routed call.
    """

    call: int
    psnr: float
    routed: Made
    static: Made
    trace: Trace


@dataclass(frozen=True)
class Report:
    """What a wrapped network was measured to be on a clip, beside the static network on whole frames.

    Attributes:
        calls: that were run.
        unseen: they are of frames that were not tuned on.
        routed_ms: median time of a call.
        static_ms: the same of the static network.
        speed_up: time of all static calls over that of all routed ones.
        median_speed_up: median of the ratios, call by call.
        slowest: the least of them.
        shares: of tiles, by the way they took; of a frame that was computed whole, all are `whole`.
        whole: share of frames computed whole.
        psnr: of all routed pictures against the static ones, in dB.
        worst_psnr: of the farthest one.
        worst_call: its number.
        max_drop: that was asked for, in dB.
        drop: that was measured, in dB.
        against: what the drop is against: the truth, or `ASSUMED_DB`.
        truth_psnr: of the routed pictures and of the static ones against the truth; None if that is not known.
        agreement: of a map of scores, share of pixels whose largest channel is the static network's; None of pictures.
        seams: mean step of the error across the borders of patches, in levels of 255.
        elsewhere: the same between all other neighbours.
        flicker: mean change of the error from one picture to the next, in levels.
        exact: largest difference of a bundle that computes every tile in full from the static network, in levels.
    """

    calls: int
    unseen: bool
    routed_ms: float
    static_ms: float
    speed_up: float
    median_speed_up: float
    slowest: float
    shares: dict[str, float]
    whole: float
    psnr: float
    worst_psnr: float
    worst_call: int
    max_drop: float
    drop: float
    against: str
    truth_psnr: tuple[float, float] | None
    agreement: float | None
    seams: float
    elsewhere: float
    flicker: float
    exact: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _Run:
    """Both networks' calls on a clip, in turn."""

    routed: list[Made]
    static: list[Made]
    traces: list[Trace]
    routed_ms: list[float]
    static_ms: list[float]


def judge(
    wrapping: Wrapping, bundle: Path, target: Target, max_drop: float, shown: Shown
) -> tuple[Report, Worst]:
    """Run a wrapped network's bundle and the static network in turn on a clip.

    Args:
        wrapping: what the bundle was compiled from.
        bundle: its bundle.
        target: what it was compiled for.
        max_drop: that was asked for, for the report.
        shown: the clip.
    """
    with compiled(wrapping.static, target) as static, Session(bundle) as routed:
        run = _run(routed, static, shown)
    exact = _exactness(wrapping, bundle, target, shown)
    peak = LEVELS if run.static[0].dtype == np.uint8 else float(np.ptp(run.static[0]))
    errors = [_levels(a, b, peak) for a, b in zip(run.routed, run.static, strict=True)]
    squares = [float(np.square(error).mean()) for error in errors]
    worst = int(np.argmax(squares))
    truth = _truth(shown, run)
    shares, whole = _shares(run.traces)
    ratios = [b / a for a, b in zip(run.routed_ms, run.static_ms, strict=True)]
    seams, elsewhere = _seams(errors, run.traces, wrapping)
    report = Report(
        calls=len(errors),
        unseen=shown is not wrapping.shown,
        routed_ms=median(run.routed_ms),
        static_ms=median(run.static_ms),
        speed_up=sum(run.static_ms) / sum(run.routed_ms),
        median_speed_up=median(ratios),
        slowest=min(ratios),
        shares=shares,
        whole=whole,
        psnr=_psnr(float(np.mean(squares))),
        worst_psnr=_psnr(squares[worst]),
        worst_call=worst,
        max_drop=max_drop,
        drop=truth[1] - truth[0] if truth else drop_of(float(np.mean(squares))),
        against="the truth" if truth else f"a network {ASSUMED_DB:g} dB from the truth",
        truth_psnr=truth,
        agreement=_agreement(run),
        seams=seams,
        elsewhere=elsewhere,
        flicker=_flicker(errors),
        exact=exact,
    )
    return report, Worst(worst, report.worst_psnr, run.routed[worst], run.static[worst], run.traces[worst])


def _run(routed: Session, static: Session, shown: Shown) -> _Run:
    for session in (routed, static):  # engines are loaded, and pages of memory found
        for _ in range(WARM):
            session.run(*shown.calls[0])
    routed.reset()
    found = _Run([], [], [], [], [])
    for call in shown.calls:
        start = perf_counter()
        made = routed.run(*call)
        found.routed_ms.append((perf_counter() - start) * 1e3)
        start = perf_counter()
        other = static.run(*call)
        found.static_ms.append((perf_counter() - start) * 1e3)
        found.routed.append(made.outputs[0])
        found.static.append(other.outputs[0])
        found.traces.append(made.trace)
    return found


def _exactness(wrapping: Wrapping, bundle: Path, target: Target, shown: Shown) -> float:
    """Largest difference of a frame whose every tile is computed in full from the static network's, in levels."""
    policy = Fixed(extent="tiles", way="full") if wrapping.tuned.tiling.size else Fixed(way="full")
    with (
        compiled(wrapping.static, target, exact=True) as static,
        Session(bundle, policy=policy, exact=True) as full,
    ):
        call = shown.calls[len(shown.calls) // 2]
        made, wanted = full(*call), static(*call)
    peak = 1.0 if wrapping.form.picture else float(np.ptp(wanted))
    return float(np.abs(made - wanted).max()) * LEVELS / peak


def _levels(made: Made, wanted: Made, peak: float) -> NDArray[np.float32]:
    """Differences in levels of 255, channels last."""
    error = (made.astype(np.float32) - wanted) * np.float32(LEVELS / peak)
    return error if made.dtype == np.uint8 else np.moveaxis(error, 0, -1)


def _psnr(squared: float) -> float:
    """In dB, of a mean squared error in squared levels; 99 of none."""
    return min(10 * log10(LEVELS**2 / squared), 99.0) if squared > 0 else 99.0


def _truth(shown: Shown, run: _Run) -> tuple[float, float] | None:
    """PSNR of the routed and of the static pictures against the truth."""
    if not shown.truth:
        return None
    found = []
    for made in (run.routed, run.static):
        pairs = zip(made, shown.truth, strict=True)
        found.append(_psnr(float(np.mean([np.square(_levels(a, b, LEVELS)).mean() for a, b in pairs]))))
    return found[0], found[1]


def _shares(traces: Sequence[Trace]) -> tuple[dict[str, float], float]:
    """Shares of tiles by way, and of frames that were computed whole."""
    taken: Counter[str] = Counter()
    whole = 0
    for trace in traces:
        ways = [str(way) for way in trace.choices["way"]]
        if _is_whole(trace):
            ways, whole = ["whole"] * len(ways), whole + 1
        taken.update(ways)
    return {way: count / sum(taken.values()) for way, count in taken.most_common()}, whole / len(traces)


def _is_whole(trace: Trace) -> bool:
    """Whether a tiled network's frame was computed whole."""
    return list(trace.choices.get("extent", ())) == ["whole"]


def _agreement(run: _Run) -> float | None:
    """Share of pixels whose largest channel is the same."""
    if run.static[0].dtype == np.uint8:
        return None
    return float(
        np.mean([(a.argmax(0) == b.argmax(0)).mean() for a, b in zip(run.routed, run.static, strict=True)])
    )


def _seams(
    errors: Sequence[NDArray[np.float32]], traces: Sequence[Trace], wrapping: Wrapping
) -> tuple[float, float]:
    """Mean steps of the error across the borders of patches, and between all other neighbours, of frames that were tiled."""
    tiling: Tiling = wrapping.tuned.tiling
    if not tiling.size:
        return 0.0, 0.0
    rows, columns = borders(
        wrapping.shown.calls[0][0].shape[:2], tiling, wrapping.form.unit, wrapping.form.scale
    )
    at, rest = [], []
    for error, trace in zip(errors, traces, strict=True):
        if _is_whole(trace):
            continue
        for axis, lines in ((0, rows), (1, columns)):
            steps = np.abs(np.diff(error, axis=axis)).mean(axis=(1 - axis, 2))
            chosen = np.zeros(len(steps), bool)
            chosen[[line - 1 for line in lines]] = True
            at += steps[chosen].tolist()
            rest += steps[~chosen].tolist()
    return float(np.mean(at or [0.0])), float(np.mean(rest or [0.0]))


def borders(size: tuple[int, ...], tiling: Tiling, unit: int, scale: int) -> tuple[list[int], list[int]]:
    """Rows and columns of a picture at which patches begin, but for its edges."""
    grid = TileGrid(size[0], size[1], tiling.size, tiling.halo, unit)
    rows, columns = ({getattr(region, side) for region in grid.regions} - {0} for side in ("top", "left"))
    return sorted(scale * row for row in rows), sorted(scale * column for column in columns)


def _flicker(errors: Sequence[NDArray[np.float32]]) -> float:
    """Mean change of the error from one picture to the next."""
    steps = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(errors)]
    return float(np.mean(steps))
