"""When should a key frame come? Fixed intervals against re-keying on drift, at equal cost.

    python benchmarks/shortcut_policy.py --data FOLDER

For every frame of every clip and each of the frames before it up to the longest interval, the shortcut is run
from that frame as key frame: its error against the teacher's frame is known, and so is every measure that could
have predicted it. Any policy is then played on these tables. Thresholds are set once for all clips, so that all
clips together take as many key frames as the fixed interval does; clips join at scene cuts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from records import record, save

from edgeflow.flow import DriftAbove, KeyFrameInterval
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules import HostRule, StreamContext
from edgeflow.models.shortcut_v2v import PRESETS, ShortcutV2V, build
from edgeflow.models.shortcut_v2v.weights import pretrained
from edgeflow.models.weights import load_weights
from edgeflow.training.data import Clip, load_clips
from edgeflow.training.evaluate_shortcut import to_picture

MODE = Variable("mode", Axis("key", "shortcut"))
MEASURES = ("drift", "mask", "offset", "pixels")
"""Distance of a, relative; mean of AdaBD's mask; mean length of all offsets; mean change of the frame."""
INTERVALS = (2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Table:
    """One clip: per frame and per age of the key frame (from 1), squared error and every measure.

    Where there is no such key frame, numbers are nan.
    """

    clip: str
    errors: NDArray[np.float64]
    measures: dict[str, NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of video files")
    parser.add_argument("--cache", type=Path, help="folder for decoded frames; a temporary one if not given")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--weights", type=Path, help="the packaged ones if not given")
    parser.add_argument("--frames", type=int, default=48, help="per clip, from the start of its last fifth")
    parser.add_argument("--longest", type=int, default=12, help="bound on a key frame's age")
    options = parser.parse_args()
    model = build(options.preset)
    trained = load_weights(model, options.weights or pretrained(options.preset))
    with tempfile.TemporaryDirectory() as temporary:
        clips = load_clips(options.data, options.cache or Path(temporary), (), PRESETS[options.preset].size)
        tables = []
        for clip in clips.training:
            tables.append(table_of(model, clip, options.frames, options.longest))
            print(f"{clip.name}: {len(tables[-1].errors)} frames", flush=True)
    kind = {
        "family": "shortcut-v2v",
        "preset": options.preset,
        "longest": options.longest,
        "weights": trained,
    }
    records = [record(kind="measure", **kind, **fields) for fields in predictions(tables)]
    records += [record(kind="policy", **kind, **fields) for fields in comparisons(tables, options.longest)]
    save("shortcut_policy", records, ("family", "preset", "kind", "measure", "interval"))


@torch.no_grad()
def table_of(model: ShortcutV2V, clip: Clip, most: int, longest: int) -> Table:
    """Run the shortcut from every possible key frame."""
    first = min(clip.split, max(len(clip.frames) - most, 0))
    last = min(first + most, len(clip.frames))
    seen: list[Any] = []
    errors = np.full((last - first, longest), np.nan)
    measures = {name: errors.copy() for name in MEASURES}
    for row, number in enumerate(range(first, last)):
        frame = to_picture(clip.frames[number])
        a = model.encode(frame)
        f = model.middle(a)
        wanted = model.decode(f).clamp(0, 1)
        for age in range(1, min(row, longest) + 1):
            if not clip.continuous(number - age, number - age + 2):
                break
            key, a_ref, f_ref = seen[-age]
            current, reference, offset, mask = model.block.align(a, a_ref, f_ref)
            made = model.decode(model.block.expand(model.block.blend(current, reference, offset, mask)))
            errors[row, age - 1] = float((made.clamp(0, 1) - wanted).square().mean())
            found = {
                "drift": model.drift(a, a_ref),
                "mask": mask.mean(),
                "offset": offset.abs().mean(),
                "pixels": (frame - key).abs().mean(),
            }
            for name, value in found.items():
                measures[name][row, age - 1] = float(value)
        seen.append((frame, a, f))
        del seen[:-longest]
    return Table(clip.name, errors, measures)


def predictions(tables: list[Table]) -> list[dict[str, Any]]:
    """How well each measure orders frames by their error: rank correlations, of all and within each clip."""
    found = []
    for measure in (*MEASURES, "age"):
        pairs = [_pairs(table, measure) for table in tables]
        within = [rank_correlation(*pair) for pair in pairs]
        together = rank_correlation(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
        print(
            f"{measure:7} ranks errors: {together:.2f} over all clips, {np.median(within):.2f} within a clip"
        )
        found.append({"measure": measure, "together": together, "within": float(np.median(within))})
    return found


def _pairs(table: Table, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = ~np.isnan(table.errors)
    ages = np.broadcast_to(np.arange(table.errors.shape[1]), table.errors.shape)
    values = ages if measure == "age" else table.measures[measure]
    return values[known].astype(np.float64), table.errors[known]


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's."""
    ranks = [np.argsort(np.argsort(x)) for x in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def comparisons(tables: list[Table], longest: int) -> list[dict[str, Any]]:
    """Every fixed interval against every measure at the threshold that takes as many key frames."""
    found = []
    for interval in INTERVALS:
        fixed = [play(table, KeyFrameInterval(interval), "drift") for table in tables]
        keys = sum(p.keys for p in fixed)
        for measure in MEASURES:
            threshold = _threshold(
                lambda t, m=measure: sum(play(x, DriftAbove(t, longest), m).keys for x in tables),  # type: ignore[misc]
                keys,
                max(float(np.nanmax(t.measures[measure])) for t in tables),
            )
            adaptive = [play(table, DriftAbove(threshold, longest), measure) for table in tables]
            fields = {
                "interval": interval,
                "measure": measure,
                "threshold": threshold,
                "frames": sum(len(t.errors) for t in tables),
                "keys_fixed": keys,
                "keys_adaptive": sum(p.keys for p in adaptive),
                "psnr_fixed": _psnr([p.error for p in fixed]),
                "psnr_adaptive": _psnr([p.error for p in adaptive]),
                "worst_fixed": _psnr([max(p.worst for p in fixed)]),
                "worst_adaptive": _psnr([max(p.worst for p in adaptive)]),
                "better_clips": sum(a.error < b.error for a, b in zip(adaptive, fixed, strict=True)),
                "clips": [
                    {"clip": t.clip, "keys_fixed": b.keys, "keys_adaptive": a.keys}
                    | {"psnr_fixed": _psnr([b.error]), "psnr_adaptive": _psnr([a.error])}
                    for t, a, b in zip(tables, adaptive, fixed, strict=True)
                ],
            }
            found.append(fields)
            print(
                f"interval {interval} ({keys} keys): {fields['psnr_fixed']:.2f} dB fixed, {measure:7} at "
                f"{threshold:.3f} ({fields['keys_adaptive']} keys) {fields['psnr_adaptive']:.2f} dB, worst frame "
                f"{fields['worst_fixed']:.1f} and {fields['worst_adaptive']:.1f} dB"
            )
    return found


@dataclass(frozen=True)
class Played:
    """A policy on a clip: key frames taken, mean squared error over all frames, that of the worst frame."""

    keys: int
    error: float
    worst: float


def play(table: Table, rule: HostRule, measure: str) -> Played:
    """Decide frame by frame by the rule, as the runtime does; a scene cut forgets the key frame."""
    context, errors = StreamContext(), []
    for row in range(len(table.errors)):
        since = context.since.get("mode", 0)
        known = 0 < since <= table.errors.shape[1] and not np.isnan(table.errors[row, since - 1])
        if not known:
            context = StreamContext()
        measured = float(table.measures[measure][row, since - 1]) if known else 0.0
        chosen = rule.choose(context, MODE, measured)
        errors.append(0.0 if chosen == 0 else float(table.errors[row, since - 1]))
        context.advance({"mode": np.array([chosen])})
    return Played(errors.count(0.0), float(np.mean(errors)), max(errors))


def _threshold(keys: Callable[[float], int], wanted: int, highest: float) -> float:
    """The lowest threshold at which no more than the wanted key frames are taken."""
    low, high = 0.0, highest
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if keys(middle) > wanted else (low, middle)
    return high


def _psnr(errors: list[float]) -> float:
    return float(-10 * np.log10(max(float(np.mean(errors)), 1e-10)))


if __name__ == "__main__":
    main()
