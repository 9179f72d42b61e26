"""ST-MFNet against its Mini: parity, frame times, memory, the forms of AdaCoF and splatting, and what a pair realises.

python benchmarks/st_mfnet.py --clip juggle.mp4 --preset tiny --size 448x256 --memory-budget 60
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from interleaved import interleaved
from operators import Forms
from records import record, save
from subject import TARGETS, bundle_folder, exported, parsed_size, pictures_of, subject
from torch import nn

from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.peak_memory import peak_memory
from edgeflow.export.weights import WeightFile
from edgeflow.flow import Eager, RoutedModule
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.film import calls_of
from edgeflow.models.st_mfnet import PRESETS
from edgeflow.ops.adacof import AdaCoF
from edgeflow.ops.splat import splat
from edgeflow.runtime import Fixed, Mix, Session
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.kernels import open_kernel
from edgeflow.targets import load

LEAST_DB = 70.0
"""Of a picture before rounding, against the flow's."""
SHARES = [(0.75, {"quality": "mini"}), (0.25, {"quality": "full"})]
"""Of tiles, by which a pair's realisation is measured."""
WARM = 1
"""Calls that are run first and do not count."""


class Splat(nn.Module):
    """`splat` as a segment."""

    def forward(self, values: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return splat(values, flow)


@dataclass(frozen=True)
class Bench:
    """What is measured, on one engine library.

    Attributes:
        preset: of the larger network.
        size: WIDTHxHEIGHT of the frames.
        frames: of the clip, for exports.
        film: the calls that are run.
        folder: of the bundles.
        library: that runs them.
        plan: how they are planned.
        threads: of the library.
    """

    preset: str
    size: str
    frames: Sequence[Any]
    film: Sequence[Any]
    folder: Path
    library: str
    plan: str
    threads: int

    def bundle(self, name: str, model: RoutedModule, memory: int | None = None) -> Path:
        """A network as a bundle; its tensors take no more than `memory` bytes, if that is given."""
        target = load(TARGETS[self.library])
        path = self.folder / f"{self.preset}-{name}-{self.size}-{self.plan}-{target.name}.edgeflow"
        sizes = [parsed_size(self.size)]
        return exported(
            path, model, target, self.plan, sizes, self.frames, memory=memory, compare=False
        )  # `decibels` does

    def session(self, bundle: Path, **options: Any) -> Session:
        """Runs a bundle."""
        return Session(bundle, library=self.library, threads=self.threads, **options)

    def decibels(self, bundle: Path, model: RoutedModule) -> float:
        """Signal to error of one picture before rounding, against the model's, in dB."""
        call = self.film[0]
        found = self.session(bundle, exact=True).run(*call).outputs[0]
        with torch.no_grad():
            wanted = Eager(model)(*map(to_tensor, call)).outputs[0][0].numpy()
        return float(-10 * np.log10(max(float(np.square(found - wanted).mean()), 1e-20)))

    def peak_mb(self, bundle: Path) -> dict[str, float]:
        """What a frame takes at the fullest, in MB: as counted, and as a process measures that runs two pictures, without what it held before the engines."""
        opened = open_bundle(bundle)
        plan = next(iter(opened.manifest.plans.values()))
        counted = peak_memory(opened, plan, parsed_size(self.size)).bytes / 1e6
        return {"counted": round(counted, 1), "measured": self._measured_mb(bundle)}

    def _measured_mb(self, bundle: Path) -> float:
        height, width = parsed_size(self.size)
        code = f"""
import re, numpy as np
from edgeflow.runtime import Session
from edgeflow.runtime.backends import open_backend
held = lambda field: int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
open_backend({self.library!r}, {self.threads})
empty = held("VmRSS")
session = Session({str(bundle)!r}, library={self.library!r}, threads={self.threads})
frames = [np.zeros(({height}, {width}, 3), np.uint8)] * 4
session.run(*frames)
session.run(*frames)
print(held("VmHWM") - empty)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return round(float(done.stdout), 1)


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    preset: Annotated[str, typer.Option(help="The larger network of the pair.")] = "tiny",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the frames.")] = "448x256",
    calls: Annotated[int, typer.Option(help="Pictures that are timed.")] = 6,
    library: str = "onnxruntime,openvino",
    plan: str = "auto",
    memory_budget: Annotated[
        float | None, typer.Option(help="MB of a frame's tensors, for the mini once more.")
    ] = None,
    eager: Annotated[bool, typer.Option(help="Time PyTorch's networks, too.")] = True,
    pair: Annotated[bool, typer.Option(help="Measure the tiled pair, too.")] = True,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
    threads: int = 2,
) -> None:
    """Measure and save results/st_mfnet.json; exits with 1 if a picture differs."""
    networks = _networks(preset)
    frames = pictures_of(clip, networks["full"].task.frames_of(calls + WARM), parsed_size(size))
    film = list(calls_of(networks["full"].task, frames))[: calls + WARM]
    records, worst = [], np.inf
    with bundle_folder(bundles) as folder:
        for name in library.split(","):
            bench = Bench(preset, size, frames, film, folder, name, plan, threads)
            common = dict(preset=preset, size=size, backend=name, clip=clip.stem, plan=plan, threads=threads)
            found = _alone(bench, networks, memory_budget, eager and name == "onnxruntime")
            records.append(record(kind="alone", budget_mb=memory_budget, **common, **found))
            worst = min(worst, *found["parity_db"].values())
            print(found, flush=True)
            if pair:
                found = _pair(bench, networks["full"])
                records.append(record(kind="pair", **common, **found))
                print(found, flush=True)
            records += [record(kind="form", backend=name, **each) for each in _forms(name, threads)]
    save("st_mfnet", records, ("kind", "preset", "size", "backend", "clip", "plan", "operator", "form"))
    raise SystemExit(1 if worst < LEAST_DB else 0)


def _networks(preset: str) -> dict[str, Any]:
    mini = PRESETS[preset].mini
    if mini is None:
        raise SystemExit(f"{preset} is the smaller network of a pair: give the larger one")
    return {name: subject("st-mfnet", own, "alone")[0] for name, own in (("full", preset), ("mini", mini))}


def _alone(
    bench: Bench, networks: Mapping[str, RoutedModule], budget_mb: float | None, eager: bool
) -> dict[str, Any]:
    """Both networks on whole frames, and the mini within a memory budget."""
    models = dict(networks)
    made = {name: bench.bundle(name, model) for name, model in networks.items()}
    if budget_mb is not None:
        models["mini in bands"] = networks["mini"]
        made["mini in bands"] = bench.bundle(f"mini-{budget_mb:g}MB", networks["mini"], int(budget_mb * 1e6))
    decibels = {name: bench.decibels(path, models[name]) for name, path in made.items()}
    runs: dict[str, Any] = {name: bench.session(path).run for name, path in made.items()}
    if eager:
        runs |= {f"eager {name}": _eager(network) for name, network in networks.items()}
    timed = interleaved(runs, bench.film, WARM, lambda result: getattr(result, "trace", None))
    ms = {name: round(each.median, 2) for name, each in timed.items()}
    return {
        "parity_db": decibels,
        "ms": ms,
        "full_over_mini": round(ms["full"] / ms["mini"], 3),
        "gflops": {name: timed[name].kept[-1].flops / 1e9 for name in made},
        "peak_mb": {name: bench.peak_mb(path) for name, path in made.items()},
    }


def _eager(model: RoutedModule) -> Callable[..., Any]:
    run = Eager(model)

    def call(*frames: Any) -> Any:
        with torch.no_grad():
            return run(*map(to_tensor, frames))

    return call


def _pair(bench: Bench, full: RoutedModule) -> dict[str, Any]:
    """Realisation of the tiled pair at fixed shares, against its own larger network on all tiles and on the whole frame."""
    routed = bench.bundle("pair", subject("st-mfnet", bench.preset, "tile")[0])
    policies = {
        "mixed": Mix(SHARES),
        "all full": Fixed(quality="full"),
        "all mini": Fixed(quality="mini"),
        "own": None,
    }
    runs: dict[str, Any] = {
        name: bench.session(routed, **({"policy": policy} if policy else {})).run
        for name, policy in policies.items()
    }
    runs["whole"] = bench.session(bench.bundle("full", full)).run
    timed = interleaved(runs, bench.film, WARM, lambda result: result.trace)
    flops = {name: float(np.mean([trace.flops for trace in each.kept])) for name, each in timed.items()}
    ms = {name: each.median for name, each in timed.items()}
    return {
        "ms": {name: round(value, 2) for name, value in ms.items()},
        "gflops": {name: value / 1e9 for name, value in flops.items()},
        "realisation": {
            against: (ms[against] / ms["mixed"]) / (flops[against] / flops["mixed"])
            for against in ("all full", "whole")
        },
        "peak_mb": bench.peak_mb(routed),
    }


def _forms(library: str, threads: int) -> list[dict[str, Any]]:
    """Milliseconds of AdaCoF and of splatting, each form in turn."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 128, 224, generator=random)
    offsets = [torch.randn(1, 25, 128, 224, generator=random) * 3 for _ in range(2)]
    kernels = [torch.rand(1, 25, 128, 224, generator=random) / 25, *offsets]
    flow = torch.randn(1, 2, 128, 224, generator=random) * 3
    runs: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        forms = Forms(open_backend(library, threads), Path(folder))
        runs["adacof", "planes in bands"] = forms.run(AdaCoF(), [image, *kernels])
        runs["splat", "scatter"] = forms.run(Splat(), [torch.cat([image, image[:, :1]], 1), flow])
        weights = WeightFile("weights.bin")
        kernel = weights.add_kernel(KernelDraft("adacof", {}))
        weights.write(Path(folder) / weights.name)
        engine = open_kernel(kernel, Path(folder) / weights.name, threads)
        arrays, made = [each.numpy() for each in (image, *kernels)], [np.empty((1, 3, 128, 224), np.float32)]
        if engine is not None:
            runs["adacof", "kernel"] = lambda: engine.run(arrays, made)
        runs["adacof", "reading its kernels"] = lambda: [each.sum() for each in arrays]
        timed = interleaved({str(key): run for key, run in runs.items()}, [()] * 12, 2, lambda result: None)
    found = []
    for operator, form in runs:
        ms = timed[str((operator, form))].median
        found.append({"operator": operator, "form": form, "shape": [3, 128, 224], "ms": round(ms, 3)})
        print(found[-1], flush=True)
    return found


if __name__ == "__main__":
    typer.run(main)
