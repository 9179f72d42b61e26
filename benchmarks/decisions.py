"""What a decision costs: a clip's time beside its engines', against how many layers decide.

python benchmarks/decisions.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from interleaved import interleaved
from records import record, save
from subject import TARGETS, bundle_folder, exported
from torch import nn

from edgeflow.flow import Clip, Tensor
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.task import Made, Task
from edgeflow.models.va_red2 import Reduced
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.stream.execute import Executor
from edgeflow.runtime.stream.loading import load_graphs
from edgeflow.runtime.stream.policy import Own
from edgeflow.targets import load

SIDE, FRAMES, CHANNELS = 32, 4, 8


def network(layers: int) -> Reduced:
    """So many dynamic layers of a few channels, one after another."""
    torch.manual_seed(0)
    body: list[nn.Module] = [nn.Conv3d(3, CHANNELS, 1)]
    for _ in range(layers):
        body += [nn.Conv3d(CHANNELS, CHANNELS, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU()]
    body += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(CHANNELS, 3)]
    return Reduced(
        nn.Sequential(*body),
        takes=Clip("clip", FRAMES, SIDE, SIDE),
        makes=Tensor("scores", (3,)),
        task=Task.of_clip(FRAMES, Made("labels", names=("a", "b", "c"))),
        dynamic=[str(1 + 2 * layer) for layer in range(layers)],
    ).eval()


def main(
    layers: str = "1,2,4,8,16,32",
    clips: int = 60,
    library: str = "onnxruntime,openvino",
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
    threads: int = 2,
) -> None:
    """Measure and save results/decisions.json."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8) for _ in range(4 * FRAMES)]
    call = (np.stack(frames[:FRAMES]),)
    records = []
    with bundle_folder(bundles) as folder:
        for count in map(int, layers.split(",")):
            model = network(count)
            for name in library.split(","):
                path = folder / f"decisions-{count}-{TARGETS[name]}.edgeflow"
                bundle = open_bundle(exported(path, model, load(TARGETS[name]), "routes", frames=frames))
                runs = {way: _executor(bundle, name, threads, way == "chains") for way in ("apart", "chains")}
                timed = interleaved(runs, [call] * (clips + 5), 5, lambda made: made.trace)
                found: dict[str, Any] = {}
                for way, each in timed.items():
                    beside = [ms - trace.engines_ms for ms, trace in zip(each.ms, each.kept, strict=True)]
                    found |= {f"{way}_ms": each.median, f"{way}_beside_engines_ms": float(np.median(beside))}
                records.append(record(backend=name, layers=count, decisions=2 * count, **found))
                print(name, count, {k: round(v, 3) for k, v in found.items()})
    save("decisions", records, ("backend", "layers"))


def _executor(bundle: Any, library: str, threads: int, chains: bool) -> Any:
    (plan,) = bundle.manifest.plans.values()
    plan = plan if chains else replace(plan, chains=())
    backend = open_backend(library, threads)
    size = (SIDE, SIDE)
    executor = Executor(plan, load_graphs(bundle, plan, backend, size), backend.memory, Own(), size)
    return lambda *call: executor.run(call)


if __name__ == "__main__":
    typer.run(main)
