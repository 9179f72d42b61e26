"""VA-RED2 against its static network: parity, clips per second, what chains win, and what leaving them at every layer costs.

python benchmarks/va_red2.py --clip juggle.mp4 --preset tiny
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from compiled import CompiledFlow, settle
from interleaved import interleaved
from records import record, save
from subject import TARGETS, bundle_folder, exported, pictures_of, subject

from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.film import calls_of
from edgeflow.models.va_red2 import Plain
from edgeflow.runtime import Fixed, Session
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.runtime.stream.policy import Own
from edgeflow.runtime.stream.trace import Result
from edgeflow.targets import load

LIMIT = 1e-4


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    preset: str = "tiny",
    variant: str = "two",
    clips: Annotated[int, typer.Option(help="Calls that are timed.")] = 12,
    library: str = "onnxruntime,openvino",
    eager: Annotated[bool, typer.Option(help="Time PyTorch, too.")] = True,
    compiled: Annotated[bool, typer.Option(help="Time torch.compile, too.")] = False,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
    threads: int = 2,
) -> None:
    """Measure and save results/va_red2.json; exits with 1 if a clip differs or decides otherwise."""
    model, trained = subject("va-red2", preset, variant)
    assert model.task is not None
    side = int(model.inputs[0].shape[-1])
    pictures = pictures_of(clip, model.task.frames_of(clips + 2), (side, side))
    calls = list(calls_of(model.task, pictures))[: clips + 2]
    records, broken = [], False
    with bundle_folder(bundles) as folder:
        for name in library.split(","):
            made = []
            for kind, network in (("routed", model), ("static", Plain(model))):  # type: ignore[arg-type]
                path = folder / f"{preset}-{variant}-{kind}-{TARGETS[name]}.edgeflow"
                made.append(
                    open_bundle(exported(path, network, load(TARGETS[name]), "routes", frames=pictures))
                )
            worst, flips = _parity(made[0], model, calls, threads)
            left, left_flips = _leaving(made[0], model, calls[0], threads)
            found = _times(made, model, calls, name, threads, eager, compiled)
            broken |= max(worst, left) > LIMIT or flips + left_flips > 0
            fields = dict(
                preset=preset, variant=variant, backend=name, clip=clip.stem, clips=clips, trained=trained
            )
            parity = dict(
                max_error=worst, route_flips=flips, max_error_leaving=left, route_flips_leaving=left_flips
            )
            records.append(record(**fields, **parity, **found))
            print({k: v for k, v in records[-1].items() if k not in ("machine", "versions", "date")})
    save("va_red2", records, ("preset", "variant", "backend", "clip"))
    raise SystemExit(1 if broken else 0)


def _parity(bundle: Bundle, model: Any, calls: Sequence[Any], threads: int) -> tuple[float, int]:
    """Largest error of a score, and decisions that differ, over all calls."""
    session, eager = Session(bundle, threads=threads), Eager(model)
    worst, flips = 0.0, 0
    for call in calls:
        error, differ = _compared(session.run(*call), eager(*map(to_tensor, call)))
        worst, flips = max(worst, error), flips + differ
    return worst, flips


def _leaving(bundle: Bundle, model: Any, call: Any, threads: int) -> tuple[float, int]:
    """The same on routes that leave their chains at every decision, one after another."""
    (plan,) = bundle.manifest.plans.values()
    worst, flips, left = 0.0, 0, set()
    for chain in plan.chains:
        for name, value in chain.graphs[0].variant:
            axis = next(variable.axis for variable in plan.variables if variable.name == name)
            other = next(each for each in axis.values if each != value)
            steered = {**dict(chain.graphs[0].variant), name: other}
            result = Session(bundle, policy=Fixed(**steered), threads=threads).run(*call)
            error, differ = _compared(result, Eager(model, steered)(*map(to_tensor, call)))
            worst, flips = max(worst, error), flips + differ
            left |= {each.left for each in result.trace.chains}
    print(f"left chains at {sorted(map(str, left - {None}))}")
    return worst, flips


def _compared(result: Result, expected: Any) -> tuple[float, int]:
    scale = max(1.0, float(expected.outputs[0].abs().max()))
    error = float(np.abs(result.outputs[0] - expected.outputs[0][0].numpy()).max()) / scale
    return error, sum(result.trace.choices[name] != own for name, own in expected.routes.items())


def _times(
    bundles: Sequence[Bundle],
    model: Any,
    calls: Sequence[Any],
    library: str,
    threads: int,
    eager: bool,
    compiled: bool,
) -> dict[str, Any]:
    """Milliseconds of a clip, in turn; FLOPs, realisation, hits and misses."""
    routed, static = bundles
    runs: dict[str, Any] = {
        "static": _executor(static, library, threads, False),
        "routed": _executor(routed, library, threads, False),
        "chains": _executor(routed, library, threads, True),
    }
    fixed = _fixed(routed)
    runs |= {name: _executor(routed, library, threads, False, route) for name, route in fixed.items()}
    if eager:
        runs |= {"eager static": _torch(Eager(Plain(model))), "eager": _torch(Eager(model))}
    if compiled:
        settle()
        runs["compiled"] = _torch(Eager(model, interpreter=CompiledFlow))
    timed = interleaved(runs, calls, 2, lambda made: made.trace if isinstance(made, Result) else None)
    flops = {
        name: float(np.mean([t.flops for t in timed[name].kept])) for name in ("static", "routed", *fixed)
    }
    flops["chains"] = flops["routed"]
    ran = [chain for trace in timed["chains"].kept for chain in trace.chains]
    return {
        "ms": {name: round(each.median, 3) for name, each in timed.items()},
        "gflops": {name: value / 1e9 for name, value in flops.items()},
        "realisation": {
            name: timed["static"].median / timed[name].median * flops[name] / flops["static"]
            for name in ("routed", "chains", *fixed)
        },
        "chain_gain": float(np.median(np.divide(timed["routed"].ms, timed["chains"].ms))),
        "hits": sum(chain.left is None for chain in ran),
        "misses": sum(chain.left is not None for chain in ran),
        "engines_a_clip": {
            n: float(np.mean([len(t.engines) for t in timed[n].kept])) for n in ("static", "routed", "chains")
        },
    }


def _fixed(bundle: Bundle) -> dict[str, dict[str, int]]:
    """Routes that every clip is held to: an untrained model's own may leave nothing out."""
    (plan,) = bundle.manifest.plans.values()
    values = {variable.name: variable.axis.values for variable in plan.variables}
    random = np.random.default_rng(0)
    return {
        "half of channels": {n: each[-1 if n.startswith("width") else 0] for n, each in values.items()},
        "half of frames": {n: each[-1 if n.startswith("stride") else 0] for n, each in values.items()},
        "half of both": {n: each[-1] for n, each in values.items()},
        "mixed": {n: each[int(random.integers(len(each)))] for n, each in values.items()},
    }


def _executor(
    bundle: Bundle, library: str, threads: int, chains: bool, route: dict[str, int] | None = None
) -> Any:
    (plan,) = bundle.manifest.plans.values()
    plan = plan if chains else replace(plan, chains=())
    backend = open_backend(library, threads)
    shape = plan.inputs[0].shape
    size = (int(shape[-2]), int(shape[-1]))
    policy = Fixed(**route) if route else Own()
    executor = Executor(plan, load_graphs(bundle, plan, backend, size), backend.memory, policy, size)
    return lambda *call: executor.run(call)


def _torch(run: Eager) -> Any:
    return lambda *call: run(*map(to_tensor, call))


if __name__ == "__main__":
    typer.run(main)
