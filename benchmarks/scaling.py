"""How realisation and dispatch scale: with frame size, with threads, and with the number of routes.

    python benchmarks/scaling.py --clip juggle.mp4

By size: as realisation.py, from 640x360 to 3840x2160 (the clip resized), on 1 and 2 threads. By routes:
CAIN-SD of the tiny preset with 1 to 60 routes (many_routes.py), all of them taken at every frame in
equal shares: what more routes cost in export, on disk, in loading and in dispatch. Each case is a
process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from many_routes import with_routes
from records import record, save
from subject import bundle_folder, exported, parsed_size

from edgeflow.ir.bundle import MANIFEST, WEIGHTS, open_bundle
from edgeflow.targets import load

CASE = Path(__file__).with_name("scaling_case.py")
SIZES = "640x360,960x540,1280x720,1920x1080,2560x1440,3840x2160"
ROUTES = "1x1,1x5,3x5,3x10,3x20"
KEY = ("kind", "preset", "backend", "plan", "clip", "size", "threads", "routes_offered")

Case = dict[str, Any]


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    preset: Annotated[str, typer.Option(help="Preset of the model that is measured by size.")] = "small",
    plans: Annotated[
        str, typer.Option(help="Plans to measure: some of chained, routes, auto.")
    ] = "chained,routes",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    sizes: Annotated[str, typer.Option(help="Sizes of frames; none if empty.")] = SIZES,
    routes: Annotated[str, typer.Option(help="Scales x depths; none if empty.")] = ROUTES,
    routes_size: Annotated[str, typer.Option(help="Frames of the measurement by routes.")] = "1280x720",
    threads: Annotated[str, typer.Option(help="Numbers of threads.")] = "1,2",
    frames: int = 5,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/scaling.json."""
    common = {"clip": str(clip), "frames": frames, "plans": plans.split(",")}
    counts = [int(count) for count in threads.split(",")]
    with bundle_folder(bundles) as folder:
        for size in filter(None, sizes.split(",")):
            for count in counts:
                for backend in library.split(","):
                    case = {**common, "size": parsed_size(size), "threads": count, "library": backend}
                    _by_size({**case, "preset": preset, "folder": str(folder)})
        for text in filter(None, routes.split(",")):
            scales, depths = map(int, text.split("x"))
            for plan in plans.split(","):
                bundle, made = _many_routes(folder, scales, depths, plan)
                for backend in library.split(","):
                    case = {**common, "size": parsed_size(routes_size), "threads": counts[-1]}
                    _by_routes(
                        {**case, "library": backend, "bundle": str(bundle)}, plan, scales * depths, made
                    )


def _by_size(case: Case) -> None:
    (height, width), clip = case["size"], Path(case["clip"]).stem
    records = [
        record(
            kind="size",
            family="cain-sd",
            preset=case["preset"],
            backend=case["library"],
            clip=clip,
            size=f"{width}x{height}",
            threads=case["threads"],
            **fields,
        )
        for fields in _process({**case, "kind": "size"})
    ]
    for own in records:
        print(
            f"{own['size']:9} {own['threads']} threads {own['backend']:12} {own['plan']:8} full "
            f"{own['full_ms']:.1f} ms, routed {own['routed_ms']:.1f} ms, realisation {own['realisation']:.2f}, "
            f"overhead {own['dispatch_overhead']:.3f}",
            flush=True,
        )
    save("scaling", records, KEY)


def _by_routes(case: Case, plan: str, offered: int, made: dict[str, Any]) -> None:
    (height, width), clip = case["size"], Path(case["clip"]).stem
    (fields,) = _process({**case, "kind": "routes"})
    own = record(
        kind="routes",
        family="cain-sd",
        preset="tiny",
        backend=case["library"],
        plan=plan,
        clip=clip,
        size=f"{width}x{height}",
        threads=case["threads"],
        frames=case["frames"],
        routes_offered=offered,
        **made,
        **fields,
    )
    print(
        f"{offered:2} routes {own['backend']:12} {plan:8} {own['graphs']} graphs, "
        f"{own['bundle_bytes'] / 1e6:.2f} MB, export {own['export_seconds']:.0f} s, load "
        f"{own['load_seconds']:.2f} s, {own['engine_runs']:.0f} runs of engines, dispatch "
        f"{own['dispatch_ms']:.1f} ms, overhead {own['dispatch_overhead']:.3f}",
        flush=True,
    )
    save("scaling", [own], KEY)


def _many_routes(folder: Path, scales: int, depths: int, plan: str) -> tuple[Path, dict[str, Any]]:
    """The bundle, and what it took; its export time is kept beside it."""
    path = folder / f"tiny-{scales}x{depths}-{plan}.edgeflow"
    seconds = path.with_suffix(".seconds")
    if not (path / MANIFEST).exists():
        start = perf_counter()
        exported(path, with_routes(scales, depths), load("cpu"), plan)
        seconds.write_text(f"{perf_counter() - start:.1f}")
    manifest = open_bundle(path).manifest
    return path, {
        "graphs": len(manifest.graphs),
        "export_seconds": float(seconds.read_text()),
        "weight_bytes": manifest.files[WEIGHTS].bytes,
        "graph_bytes": sum(manifest.files[graph.file].bytes for graph in manifest.graphs.values()),
        "bundle_bytes": sum(entry.bytes for entry in manifest.files.values()),
    }


def _process(case: Case) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(CASE), json.dumps(case)], stdout=subprocess.PIPE, text=True, check=True
    )
    fields: list[dict[str, Any]] = json.loads(done.stdout)
    return fields


if __name__ == "__main__":
    typer.run(main)
