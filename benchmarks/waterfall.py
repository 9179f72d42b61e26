"""The waterfall from FLOPs saved to time saved, of a straightforward build and of the planned one.

    python benchmarks/waterfall.py --clip juggle.mp4

Straightforward is one engine per segment, one tile a run and no rewrites: what an exporter gives without a planner.
Planned is `--plan auto`. Both against the same full static model, whole frame or dearest route, whichever is faster.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from records import record, save
from static_models import full_static
from subject import TARGETS, bundle_folder, exported, parsed_size, pictures_of, subject

from edgeflow.ir.film import calls_of
from edgeflow.runtime import open_bundle
from edgeflow.runtime.measure.realisation import compare
from edgeflow.targets import load

KEY = ("family", "preset", "build", "backend", "clip", "size", "threads")


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "cain-sd",
    preset: str = "small",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    frames: int = 16,
    threads: int = 2,
    size: Annotated[str, typer.Option(help="Resize the clip, as 960x540.")] = "",
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/waterfall.json."""
    pictures = pictures_of(clip, frames + 3, parsed_size(size) if size else None)
    height, width = pictures[0].shape[:2]
    model, _ = subject(family, preset)
    with bundle_folder(bundles) as folder:
        for backend in library.split(","):
            target = load(TARGETS[backend])
            plain = replace(target, batches=(1,), rewrites=())
            whole = folder / f"{preset}-whole-{width}x{height}-{target.name}.edgeflow"
            static = open_bundle(exported(whole, full_static(family, model), target, sizes=[(height, width)]))
            builds = {
                "straightforward": exported(
                    folder / f"{preset}-straightforward-{target.name}.edgeflow", model, plain
                ),
                "planned": exported(
                    folder / f"{preset}-auto-{target.name}.edgeflow", model, target, "auto", frames=pictures
                ),
            }
            records = []
            for build, path in builds.items():
                bundle = open_bundle(path)
                _, fall = compare(
                    bundle,
                    list(calls_of(bundle.manifest.task, pictures)),
                    library=backend,
                    threads=threads,
                    static=static,
                )
                assert fall is not None
                records.append(
                    record(
                        family=family,
                        preset=preset,
                        build=build,
                        backend=backend,
                        clip=clip.stem,
                        size=f"{width}x{height}",
                        threads=threads,
                        frames=frames,
                        full=fall.full,
                        full_ms=fall.full_cost.spent.total,
                        routed_ms=fall.routed_cost.spent.total,
                        realisation=fall.realisation,
                        steps={step.name: step.ms for step in fall.steps},
                    )
                )
                lines = ", ".join(f"{step.name} {step.ms:.1f}" for step in fall.steps)
                print(f"{backend:12} {build:15} realisation {fall.realisation:.2f}: {lines} ms", flush=True)
            save("waterfall", records, KEY)


if __name__ == "__main__":
    typer.run(main)
