"""Every engine against the eager segment, and whole frames against the eager flow, on real frames.

python benchmarks/parity.py --clip juggle.mp4
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from records import record, save
from subject import TARGETS, bundle_folder, exported, subject

from edgeflow.cli.clips import first_frames
from edgeflow.flow import Eager
from edgeflow.flow.tasks import task_of
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.film import calls_of
from edgeflow.runtime import Session
from edgeflow.runtime.check import check
from edgeflow.targets import load


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "cain-sd",
    preset: str = "small",
    frames: int = 30,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
    threads: int = 2,
) -> None:
    """Measure and save results/parity.json; exits with 1 if a limit is broken."""
    model, _ = subject(family, preset)
    size = model.size
    pictures = first_frames(clip, frames + 1, (lambda height, width: size) if size else None)
    eager = Eager(model)
    calls = list(calls_of(task_of(model), pictures))
    wanted = [eager(*map(to_tensor, call)) for call in calls]
    records, broken = [], False
    with bundle_folder(bundles) as folder:
        for plan in ("chained", "routes", "auto"):
            for library, name in TARGETS.items():
                path = folder / f"{preset}-{plan}-{name}.edgeflow"
                bundle = open_bundle(exported(path, model, load(name), plan, frames=pictures))
                report = check(bundle, library=library, threads=threads)
                images = {g.key for s in _stages(bundle) for g in s.graphs if g.exact}
                worst = max(g.max_error for g in report.graphs if g.graph in images)
                relative = max(g.max_error / g.allowed for g in report.graphs if g.allowed)
                session = Session(bundle, library=library, threads=threads, exact=True)
                psnr, flips, decisions = _compare(session, calls, wanted)
                good = report.passed and worst <= 1e-4 and psnr >= 70 and flips == 0
                broken |= not good
                records.append(
                    record(
                        family=family,
                        preset=preset,
                        backend=report.library,
                        precision="fp32",
                        plan=plan,
                        clip=clip.stem,
                        frames=len(wanted),
                        engines=len(report.graphs),
                        image_max_error=worst,
                        engine_error_of_allowed=relative,
                        psnr_db=psnr,
                        route_flips=flips,
                        decisions=decisions,
                        passed=good,
                    )
                )
                print(
                    f"{report.library:12} {plan:8} {len(report.graphs)} engines, image error {worst:.1e}, "
                    f"{len(wanted)} frames at {psnr:.1f} dB, {flips} of {decisions} decisions differ"
                )
    save("parity", records, ("family", "preset", "backend", "precision", "plan", "clip"))
    raise SystemExit(1 if broken else 0)


def _stages(bundle: Any) -> list[Any]:
    return [stage for plan in bundle.manifest.plans.values() for stage in plan.stages]


def _compare(session: Session, calls: list[Any], wanted: list[Any]) -> tuple[float, int, int]:
    """Lowest PSNR of a frame before rounding, decisions that differ, decisions compared."""
    lowest, flips, decisions = np.inf, 0, 0
    for call, expected in zip(calls, wanted, strict=True):
        result = session.run(*call)
        error = np.mean((result.outputs[0] - expected.outputs[0][0].numpy()) ** 2)
        lowest = min(lowest, float(-10 * np.log10(max(error, 1e-20))))
        for name, own in expected.routes.items():
            decisions += len(own)
            flips += sum(a != b for a, b in zip(own, result.trace.choices[name], strict=True))
    return lowest, flips, decisions


if __name__ == "__main__":
    typer.run(main)
