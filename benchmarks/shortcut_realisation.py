"""How much of Shortcut-V2V's FLOP saving becomes a time saving, and whether a stream drifts from eager.

    python benchmarks/shortcut_realisation.py --clip juggle.mp4
    python benchmarks/shortcut_realisation.py --clip juggle.mp4 --preset full --frames 12 --parity-frames 6

realisation = (teacher's time / routed time) / (teacher's FLOPs / routed FLOPs). The full static model is the teacher
alone on every frame, in its faster form: its own bundle, or the key frame's stages of the routed one. All run in one
process, in turn, frame by frame. Key frames and shortcut frames differ, so times are summed over whole key
intervals and the median of these sums is compared; the times of both kinds of frame are kept beside it. Where the
rest goes is what `edgeflow profile` says (the waterfall), per plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from interleaved import Timed, interleaved
from records import record, save
from subject import TARGETS, bundle_folder, exported

from edgeflow.cli.clips import first_frames
from edgeflow.flow import Eager, RoutedModule, cost
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import WEIGHTS, Bundle, open_bundle
from edgeflow.ir.plan.routes import dearest_route, static_plan
from edgeflow.models.shortcut_v2v import ShortcutV2V, Teacher, build
from edgeflow.models.shortcut_v2v.weights import pretrained
from edgeflow.models.weights import load_weights
from edgeflow.runtime import Fixed, Session, Trace
from edgeflow.runtime.check import check
from edgeflow.runtime.measure.realisation import compare
from edgeflow.targets import load

KEY = ("family", "preset", "variant", "backend", "precision", "plan", "clip", "size", "threads")


def main(
    clip: Annotated[Path, typer.Option(help="The video to run; resized to the preset's size.")],
    preset: str = "tiny",
    variant: str = "medium",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    plans: Annotated[
        str, typer.Option(help="Plans to measure: some of chained, routes, auto.")
    ] = "chained,routes,auto",
    frames: Annotated[int, typer.Option(help="Measured; whole key intervals are used.")] = 36,
    parity_frames: Annotated[int, typer.Option(help="Compared with eager.")] = 60,
    threads: int = 2,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/shortcut_realisation.json; exits with 1 if a stream drifts from eager."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build(preset, variant)
    weights = pretrained(preset, variant)
    if weights is not None:
        load_weights(model, weights)
    assert model.size is not None
    size = model.size
    wanted = max(frames + model.interval, parity_frames)
    pictures = first_frames(clip, wanted, lambda height, width: size)
    eager_ms = _eager_ms(model, pictures[: 2 * model.interval])
    height, width = size
    flops = sum(call.flops for call in cost(Teacher(model), {"height": height, "width": width}).calls)
    drifted = False
    with bundle_folder(bundles) as folder:
        for backend in library.split(","):
            target = load(TARGETS[backend])
            keep = partial(_export, folder, f"{preset}-{variant}", target, pictures)
            teacher = open_bundle(keep("teacher", Teacher(model).eval(), "routes"))
            routed = {plan: open_bundle(keep(plan, model, plan)) for plan in plans.split(",")}
            parity = {
                plan: _parity(bundle, model, backend, threads, pictures[:parity_frames])
                for plan, bundle in routed.items()
            }
            timed = _timed(
                teacher, routed, backend, threads, pictures[: frames + model.interval], model.interval
            )
            records = []
            for plan, bundle in routed.items():
                calls = [(p,) for p in pictures[: frames + model.interval]]
                _, fall = compare(bundle, calls, library=backend, threads=threads, static=teacher)
                records.append(
                    record(
                        family="shortcut-v2v",
                        preset=preset,
                        variant=variant,
                        trained=weights is not None,
                        backend=backend,
                        precision="fp32",
                        plan=plan,
                        clip=clip.stem,
                        size=f"{width}x{height}",
                        threads=threads,
                        interval=model.interval,
                        eager_ms=eager_ms,
                        **_saved(timed["teacher"], timed[f"key {plan}"], timed[plan], flops, model.interval),
                        **parity[plan],
                        **_weights(bundle, model),
                        waterfall=asdict(fall) if fall else None,
                    )
                )
                own = records[-1]
                drifted |= not own["passed"]
                print(
                    f"{backend:12} {plan:8} teacher {own['full_ms']:.1f} ms, key {own['key_ms']:.1f}, shortcut "
                    f"{own['shortcut_ms']:.1f}, mean {own['routed_ms']:.1f} ms; FLOPs saved {own['flops_saved']:.2f}x, "
                    f"time saved {own['speedup']:.2f}x, realisation {own['realisation']:.2f} ({own['realisation_p10']:.2f} "
                    f"to {own['realisation_p90']:.2f}); engines within {own['engine_error_of_allowed']:.2f} of what "
                    f"is allowed, {own['frames']} frames within {own['stream_error']:.1e}, {own['route_flips']} flips",
                    flush=True,
                )
            save("shortcut_realisation", records, KEY)
    raise SystemExit(1 if drifted else 0)


def _export(
    folder: Path, name: str, target: Any, pictures: Sequence[Any], form: str, model: RoutedModule, plan: str
) -> Path:
    return exported(
        folder / f"{name}-{form}-{target.name}.edgeflow", model, target, plan, frames=pictures[:17]
    )


def _eager_ms(model: ShortcutV2V, pictures: Sequence[Any]) -> float:
    """Mean of eager PyTorch's frames over the second key interval."""
    eager, times = Eager(model), []
    for picture in pictures:
        start = perf_counter()
        eager(to_tensor(picture))
        times.append((perf_counter() - start) * 1e3)
    return float(np.mean(times[model.interval :]))


def _parity(
    bundle: Bundle, model: ShortcutV2V, library: str, threads: int, pictures: Sequence[Any]
) -> dict[str, Any]:
    """Every engine against the eager segment, and a stream with its states against the eager flow."""
    report = check(bundle, library=library, threads=threads)
    session, eager = Session(bundle, library=library, threads=threads, exact=True), Eager(model)
    errors, flips = [], 0
    for picture in pictures:
        result, wanted = session.run(picture), eager(to_tensor(picture))
        errors.append(float(np.abs(result.outputs[0] - wanted.outputs[0][0].numpy()).max()))
        flips += result.trace.choices != wanted.routes
    third = max(len(errors) // 3, 1)
    worst = max(errors)
    return {
        "engine_error_of_allowed": max(g.max_error / g.allowed for g in report.graphs if g.allowed),
        "frames": len(errors),
        "stream_error": worst,
        "stream_error_first": max(errors[:third]),
        "stream_error_last": max(errors[-third:]),
        "route_flips": flips,
        "passed": report.passed and worst <= 1e-4 and flips == 0,
    }


def _weights(bundle: Bundle, model: ShortcutV2V) -> dict[str, Any]:
    """Bytes of the weight file, and of every weight once."""
    stored = (bundle.path / WEIGHTS).stat().st_size
    unique = sum(p.numel() * p.element_size() for p in model.parameters())
    return {"weight_file_bytes": stored, "unique_weight_bytes": unique, "weight_ratio": stored / unique}


def _timed(
    teacher: Bundle,
    routed: dict[str, Bundle],
    library: str,
    threads: int,
    pictures: Sequence[Any],
    warm: int,
) -> dict[str, Timed[Trace]]:
    """The teacher, and per plan the routed model and its key frames alone."""
    sessions = {"teacher": Session(teacher, library=library, threads=threads)}
    for plan, bundle in routed.items():
        sessions[plan] = Session(bundle, library=library, threads=threads)
        (whole,) = bundle.manifest.plans.values()
        size = pictures[0].shape[:2]
        key = static_plan(whole, dearest_route(whole, size))
        alone = Session(_with_plan(bundle, key), library=library, threads=threads, policy=Fixed())
        sessions[f"key {plan}"] = alone
    calls = [(picture,) for picture in pictures]
    runs = {name: session.run for name, session in sessions.items()}
    return interleaved(runs, calls, warm, lambda result: result.trace)


def _with_plan(bundle: Bundle, plan: Any) -> Bundle:
    (kind,) = bundle.manifest.plans
    return replace(bundle, manifest=replace(bundle.manifest, plans={kind: plan}))


def _saved(
    teacher: Timed[Trace], key: Timed[Trace], routed: Timed[Trace], flops: int, interval: int
) -> dict[str, Any]:
    """Savings over whole key intervals, and the realisation's spread over them."""
    count = len(routed.ms) // interval * interval
    full = min((teacher, key), key=lambda timed: timed.median)
    full_sums, sums = (np.array(t.ms[:count]).reshape(-1, interval).sum(1) for t in (full, routed))
    spent = float(np.mean([trace.flops for trace in routed.kept[:count]]))
    modes = np.array([trace.choices["mode"][0] == "key" for trace in routed.kept])
    times = np.array(routed.ms)
    speedup, saved = float(np.median(full_sums) / np.median(sums)), flops / spent
    by_interval = full_sums / sums / saved
    return {
        "full_ms": full.median,
        "full_form": "teacher" if full is teacher else "key frames alone",
        "teacher_ms": teacher.median,
        "key_ms": float(np.median(times[modes])),
        "shortcut_ms": float(np.median(times[~modes])),
        "routed_ms": float(np.median(sums)) / interval,
        "flops_full": flops,
        "flops_routed": spent,
        "flops_saved": saved,
        "speedup": speedup,
        "realisation": speedup / saved,
        "realisation_p10": float(np.percentile(by_interval, 10)),
        "realisation_p90": float(np.percentile(by_interval, 90)),
        "dispatch_overhead": float(np.mean(times) / np.mean([trace.engines_ms for trace in routed.kept])),
    }


if __name__ == "__main__":
    typer.run(main)
