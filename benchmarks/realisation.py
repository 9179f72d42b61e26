"""How much of the FLOP saving becomes a time saving, on one clip, for each engine library and plan.

realisation = (full static time / routed time) / (full FLOPs / routed FLOPs), where the full static
model runs in its faster form (whole frame, or the same tiles). All run in one process, in turn,
frame by frame; the medians are compared, and the 10th and 90th percentile of the same ratio taken
frame by frame are kept. Routed time is the whole call: router, tiling, gather, scatter, stitch and
image conversion included. Overhead is the call over the sum of its engines.

    python benchmarks/realisation.py --clip juggle.mp4
    python benchmarks/realisation.py --clip juggle.mp4 --preset full --bundles kept/
    python benchmarks/realisation.py --clip juggle.mp4 --precision int8 --plans auto
    python benchmarks/realisation.py --clip juggle.mp4 --in-flight 2
    python benchmarks/realisation.py --clip juggle.mp4 --family own --preset small

At bf16 and int8 the full static model is compiled at the same precision.

Weights of `full` are random, so its router says nothing; it runs a fixed mix of routes that saves what
the paper reports for Xiph-2K (mixes.py has the mix and the reasons), the router included but overruled.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer
from mixes import MIXES
from records import record, save
from saving import compare, full_models
from steered import steered
from subject import TARGETS, Pictures, bundle_folder, exported, mix_of, parsed_size, pictures_of, subject

from edgeflow.flow import RoutedModule
from edgeflow.flow.tasks import task_of
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.film import calls_of
from edgeflow.runtime.stream.policy import Policy
from edgeflow.targets import load

KEY = ("family", "preset", "mix", "backend", "precision", "plan", "clip", "size", "threads", "in_flight")
FRAMES = {"small": (22, 2), "full": (4, 1)}


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "cain-sd",
    preset: str = "small",
    variant: Annotated[str, typer.Option(help="The family's own choice if not given.")] = "",
    weights: Annotated[Path | None, typer.Option(help="The packaged ones if not given.")] = None,
    mix: Annotated[str, typer.Option(help="router, or paper: a fixed mix of routes.")] = "",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    plans: Annotated[
        str, typer.Option(help="Plans to measure: some of chained, routes, auto.")
    ] = "chained,routes,auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 (OpenVINO) or int8.")] = "fp32",
    frames: Annotated[int, typer.Option(help="Measured; by the preset if 0.")] = 0,
    eager_frames: Annotated[int, typer.Option(help="Measured on the eager model.")] = 2,
    threads: int = 2,
    in_flight: Annotated[int, typer.Option(help="Frames that run at a time, of every model.")] = 1,
    size: Annotated[str, typer.Option(help="Resize the clip, as 2048x1080.")] = "",
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/realisation.json."""
    torch.set_num_threads(threads)
    default, warm = FRAMES.get(preset, FRAMES["small"])
    model, trained = subject(family, preset, variant, weights)
    pictures = pictures_of(clip, warm + (frames or default) + 1, parsed_size(size) if size else model.size)
    height, width = pictures[0].shape[:2]
    mix = mix or ("router" if trained else "paper")
    if mix == "router" and not trained:
        raise SystemExit(f"no trained weights for {preset}: its router says nothing, use --mix paper")
    policy = MIXES[mix]
    eager_ms = _eager_ms(model, policy, pictures[: eager_frames + 2])
    with bundle_folder(bundles) as folder:
        for backend in library.split(","):
            target = load(TARGETS[backend]).at(precision)
            at = "" if precision == "fp32" else f"-{precision}"
            full = full_models(family, model, preset, (height, width), folder, target, pictures)
            expected = mix_of(model, policy, (height, width)) if policy else None
            routed = {
                plan: exported(
                    folder / f"{preset}-{plan}-{target.name}{at}.edgeflow",
                    model,
                    target,
                    plan,
                    frames=pictures,
                    mix=expected,
                )
                for plan in plans.split(",")
            }
            measured = compare(full, routed, backend, pictures, warm, threads, policy, in_flight)
            records = [
                record(
                    family=family,
                    preset=preset,
                    trained=trained,
                    mix=mix,
                    backend=backend,
                    precision=precision,
                    clip=clip.stem,
                    size=f"{width}x{height}",
                    threads=threads,
                    in_flight=in_flight,
                    eager_ms=eager_ms,
                    **fields,
                )
                for fields in measured
            ]
            for own in records:
                print(
                    f"{backend:12} {precision} {own['plan']:8} full {own['full_ms']:.1f} ms ({own['full_form']}), routed "
                    f"{own['routed_ms']:.1f} ms, FLOPs saved {own['flops_saved']:.2f}x, time saved "
                    f"{own['speedup']:.2f}x, realisation {own['realisation']:.2f} "
                    f"({own['realisation_p10']:.2f} to {own['realisation_p90']:.2f}), "
                    f"overhead {own['dispatch_overhead'] or float('nan'):.3f}, {in_flight} in flight",
                    flush=True,
                )
            save("realisation", records, KEY)


def _eager_ms(model: RoutedModule, policy: Policy | None, pictures: Pictures) -> float:
    """Median of the eager model's frames, after one that is not measured."""
    eager = steered(model, policy)
    times = []
    for pair in calls_of(task_of(model), pictures):
        start = perf_counter()
        eager(*(to_tensor(p) for p in pair))
        times.append((perf_counter() - start) * 1e3)
    return float(np.median(times[1:]))


if __name__ == "__main__":
    typer.run(main)
