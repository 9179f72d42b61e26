"""Resident memory and load time of every plan against the full static model, in fresh processes.

    python benchmarks/memory.py --clip juggle.mp4 --preset small

Each case is a process of its own (memory_case.py) that imports numpy, the runtime and one engine library
and nothing else. Its resident memory (Pss) is read before the bundle is opened, after all engines are loaded,
after frames that together take every route, and after frames that take each route with all tiles (the
largest batches); and its peak (VmHWM, which counts a page once a mapping). What is compared with the full model is the memory beyond the
first reading. Each case is run a second time from a bundle that `edgeflow build` has finished: `PLAN, built`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer
from records import record, save
from static_models import full_static
from subject import TARGETS, bundle_folder, exported, parsed_size, pictures_of, subject

from edgeflow.runtime import open_bundle
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.backends.base import KeepingBackend
from edgeflow.runtime.backends.compiled_from import engine_folder
from edgeflow.runtime.keep import keep_models
from edgeflow.targets import load

KEY = ("family", "preset", "backend", "plan", "size", "threads")
CASE = Path(__file__).with_name("memory_case.py")
READINGS = ("loaded", "mixed", "largest", "peak")


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "cain-sd",
    preset: str = "small",
    plans: Annotated[
        str, typer.Option(help="Plans to measure: some of chained, routes, auto.")
    ] = "chained,routes",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    threads: int = 2,
    runs: Annotated[int, typer.Option(help="Processes per case; medians are kept.")] = 3,
    size: Annotated[str, typer.Option(help="Resize the clip, as 2048x1080.")] = "",
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/memory.json."""
    pictures = pictures_of(clip, 4, parsed_size(size) if size else None)
    height, width = pictures[0].shape[:2]
    model, _ = subject(family, preset)
    records = []
    with bundle_folder(bundles) as folder, tempfile.TemporaryDirectory() as temporary:
        frames = Path(temporary) / "frames.npy"
        np.save(frames, np.stack(pictures))
        for backend in library.split(","):
            target = load(TARGETS[backend])
            cases = {
                "full": exported(
                    folder / f"{preset}-whole-{width}x{height}-{target.name}.edgeflow",
                    full_static(family, model),
                    target,
                    sizes=[(height, width)],
                )
            }
            for plan in plans.split(","):
                path = folder / f"{preset}-{plan}-{target.name}.edgeflow"
                cases[plan] = exported(path, model, target, plan, frames=pictures)
            cases |= {
                f"{plan}, built": built(
                    bundle, Path(temporary) / f"{plan}-{backend}", backend, (height, width)
                )
                for plan, bundle in cases.items()
            }
            readings: dict[str, list[dict[str, float]]] = {plan: [] for plan in cases}
            for _ in range(runs):
                for plan, bundle in cases.items():
                    readings[plan].append(_process(bundle, backend, frames, threads))
            measured = {plan: _median(found) for plan, found in readings.items()}
            for plan, own in measured.items():
                full = measured["full"]
                ratios = {f"{name}_ratio": own[f"{name}_mb"] / full[f"{name}_mb"] for name in READINGS}
                load_ratio = own["load_seconds"] / full["load_seconds"]
                records.append(
                    record(
                        family=family,
                        preset=preset,
                        backend=backend,
                        plan=plan,
                        size=f"{width}x{height}",
                        threads=threads,
                        processes=runs,
                        **own,
                        **ratios,
                        load_ratio=load_ratio,
                    )
                )
                print(
                    f"{backend:12} {plan:14} engines {own['loaded_mb']:.0f} MB, all routes {own['mixed_mb']:.0f} MB "
                    f"({ratios['mixed_ratio']:.2f}x), largest batches {own['largest_mb']:.0f} MB, peak "
                    f"{own['peak_mb']:.0f} MB, loaded in {own['load_seconds']:.2f} s",
                    flush=True,
                )
    save("memory", records, KEY)


def built(bundle: Path, copy: Path, library: str, size: tuple[int, int] | None) -> Path:
    """A copy of the bundle that keeps what its library made here, as `edgeflow build` leaves it."""
    shutil.copytree(bundle, copy)
    build = cast(KeepingBackend, open_backend(library)).build
    keep_models(open_bundle(copy), engine_folder(copy, library, build), size)
    return copy


def _process(bundle: Path, library: str, frames: Path, threads: int) -> dict[str, float]:
    arguments = [str(bundle), library, str(frames), str(threads)]
    done = subprocess.run(
        [sys.executable, str(CASE), *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    readings: dict[str, float] = json.loads(done.stdout)
    return readings


def _median(readings: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([r[name] for r in readings])) for name in readings[0]}


if __name__ == "__main__":
    typer.run(main)
