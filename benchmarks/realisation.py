"""How much of the FLOP saving becomes a time saving, on one clip, for each engine library and plan.

realisation = (full static time / routed time) / (full FLOPs / routed FLOPs), where the full static
model runs in its faster form (whole frame, or the same tiles). All run in one process, in turn,
frame by frame; the medians are compared. Routed time is the whole call: router, tiling, gather,
scatter, stitch and image conversion included.

    python benchmarks/realisation.py --clip juggle.mp4
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from records import record, save
from static_models import FullTiles

from edgeflow.cli.clips import first_frames
from edgeflow.export.compile import compile_model
from edgeflow.export.golden import to_tensor
from edgeflow.flow import Eager, RoutedModule, cost
from edgeflow.models.cain_sd import WholeFrame, build
from edgeflow.models.cain_sd.weights import load_weights, pretrained
from edgeflow.runtime import Session
from edgeflow.targets import load

LIBRARIES = ("onnxruntime", "openvino")


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    preset: str = "small",
    frames: int = 24,
    eager_frames: int = 4,
    threads: int = 2,
) -> None:
    """Measure and save results/realisation.json."""
    torch.set_num_threads(threads)
    pictures = first_frames(clip, frames + 1)
    height, width = pictures[0].shape[:2]
    model = build(preset)
    weights = pretrained(preset)
    if weights is None:
        raise SystemExit(f"no trained weights for {preset}")
    load_weights(model, weights)
    whole, tiles = WholeFrame(model).eval(), FullTiles(model).eval()
    size = {"height": height, "width": width}
    flops = {"whole": _frame_flops(whole, size), "tiles": _tile_flops(tiles, pictures, size)}
    eager_ms = _eager_ms(model, pictures[: eager_frames + 1])
    records = []
    with tempfile.TemporaryDirectory() as folder:
        bundles = {
            name: Path(folder) / f"{name}.edgeflow" for name in ("chained", "routes", "whole", "tiles")
        }
        for plan in ("chained", "routes"):
            compile_model(model, load("cpu"), bundles[plan], reference={}, strategy=plan)
        for name, module in (("whole", whole), ("tiles", tiles)):
            compile_model(module, load("cpu"), bundles[name], reference={}, sizes=[(height, width)])
        for library in LIBRARIES:
            measured = _interleaved(bundles, library, pictures, threads)
            form = min(("whole", "tiles"), key=lambda name: measured[name]["ms"])
            for plan in ("chained", "routes"):
                own = measured[plan]
                saved = flops[form] / own["flops"]
                speedup = measured[form]["ms"] / own["ms"]
                records.append(
                    record(
                        family="cain-sd",
                        preset=preset,
                        backend=library,
                        precision="fp32",
                        plan=plan,
                        clip=clip.stem,
                        size=f"{width}x{height}",
                        threads=threads,
                        frames=len(pictures) - 1,
                        full_form=form,
                        full_ms=measured[form]["ms"],
                        full_whole_ms=measured["whole"]["ms"],
                        full_tiles_ms=measured["tiles"]["ms"],
                        routed_ms=own["ms"],
                        eager_ms=eager_ms,
                        flops_full=flops[form],
                        flops_routed=own["flops"],
                        flops_saved=saved,
                        speedup=speedup,
                        realisation=speedup / saved,
                        dispatch_overhead=own["overhead"],
                        stages_ms=own["stages"],
                        routes=own["routes"],
                    )
                )
                print(
                    f"{library:12} {plan:8} full {measured[form]['ms']:.1f} ms ({form}), routed "
                    f"{own['ms']:.1f} ms, FLOPs saved {saved:.2f}x, time saved {speedup:.2f}x, "
                    f"realisation {speedup / saved:.2f}, overhead {own['overhead']:.3f}"
                )
    save("realisation", records, ("family", "preset", "backend", "precision", "plan", "clip", "size"))


def _frame_flops(model: RoutedModule, size: dict[str, int]) -> int:
    return sum(call.flops for call in cost(model, size).calls)


def _tile_flops(model: RoutedModule, pictures: list[Any], size: dict[str, int]) -> int:
    grid = Eager(model)(*(to_tensor(p) for p in pictures[:2])).grids["tiles"]
    return len(grid) * cost(model, size).flops({}, "tiles")


def _eager_ms(model: RoutedModule, pictures: list[Any]) -> float:
    eager = Eager(model)
    times = []
    for pair in pairwise(pictures):
        start = perf_counter()
        eager(*(to_tensor(p) for p in pair))
        times.append((perf_counter() - start) * 1e3)
    return float(np.median(times))


def _interleaved(
    bundles: dict[str, Path], library: str, pictures: list[Any], threads: int
) -> dict[str, dict[str, Any]]:
    """Run every bundle on every frame in turn; medians over frames, after two unmeasured ones."""
    sessions = {name: Session(path, library=library, threads=threads) for name, path in bundles.items()}
    traces: dict[str, list[Any]] = {name: [] for name in sessions}
    for number, pair in enumerate(pairwise(pictures)):
        for name, session in sessions.items():
            trace = session.run(*pair).trace
            if number >= 2:
                traces[name].append(trace)
    found = {}
    for name, own in traces.items():
        stages: dict[str, float] = {}
        routes: dict[str, int] = {}
        for trace in own:
            for engine in trace.engines:
                stages[engine.stage] = stages.get(engine.stage, 0.0) + engine.ms / len(own)
            for region in trace.regions:
                route = " ".join(f"{k}={v}" for k, v in region.route.items())
                routes[route] = routes.get(route, 0) + 1
        found[name] = {
            "ms": float(np.median([t.total_ms for t in own])),
            "flops": float(np.mean([t.flops for t in own])),
            "overhead": float(np.median([t.total_ms / t.engines_ms for t in own])),
            "stages": stages,
            "routes": routes,
        }
    return found


if __name__ == "__main__":
    typer.run(main)
