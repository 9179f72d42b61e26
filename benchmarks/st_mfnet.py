"""ST-MFNet against its Mini: parity, frame times, memory, the forms of AdaCoF and splatting, and what a pair realises.

python benchmarks/st_mfnet.py --clip juggle.mp4 --preset tiny --size 448x256
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
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
from edgeflow.export.weights import WeightFile
from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.film import calls_of
from edgeflow.models.st_mfnet import PRESETS
from edgeflow.models.st_mfnet.model import full_static
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


class Splat(nn.Module):
    """`splat` as a segment."""

    def forward(self, values: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return splat(values, flow)


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    preset: Annotated[str, typer.Option(help="The larger network of the pair.")] = "tiny",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the frames.")] = "448x256",
    calls: Annotated[int, typer.Option(help="Pictures that are timed.")] = 6,
    library: str = "onnxruntime,openvino",
    plan: str = "auto",
    pair: Annotated[bool, typer.Option(help="Measure the tiled pair, too.")] = True,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
    threads: int = 2,
) -> None:
    """Measure and save results/st_mfnet.json; exits with 1 if a picture differs."""
    mini = PRESETS[preset].mini
    if mini is None:
        raise SystemExit(f"{preset} is the smaller network of a pair: give the larger one")
    height, width = parsed_size(size)
    networks = {
        name: subject("st-mfnet", own, "alone")[0] for name, own in (("full", preset), ("mini", mini))
    }
    task = networks["full"].task
    assert task is not None
    frames = pictures_of(clip, task.frames_of(calls + 2), (height, width))
    film = list(calls_of(task, frames))[: calls + 2]
    records, broken = [], False
    with bundle_folder(bundles) as folder:
        for name in library.split(","):
            common = dict(preset=preset, size=size, backend=name, clip=clip.stem, plan=plan)
            made = {}
            for kind, network in networks.items():
                path = folder / f"{preset}-{kind}-{size}-{plan}-{TARGETS[name]}.edgeflow"
                made[kind] = exported(path, network, load(TARGETS[name]), plan, [(height, width)], frames)
            decibels = {k: _parity(open_bundle(made[k]), networks[k], film[0], name, threads) for k in made}
            broken |= min(decibels.values()) < LEAST_DB
            runs: dict[str, Any] = {k: Session(made[k], library=name, threads=threads).run for k in made}
            if name == "onnxruntime":
                runs |= {f"eager {k}": _eager(network) for k, network in networks.items()}
            timed = interleaved(runs, film, 2, lambda result: getattr(result, "trace", None))
            ms = {k: round(each.median, 2) for k, each in timed.items()}
            found: dict[str, Any] = {
                "parity_db": decibels,
                "ms": ms,
                "full_over_mini": round(ms["full"] / ms["mini"], 3),
                "gflops": {k: timed[k].kept[-1].flops / 1e9 for k in made},
                "peak_mb": {k: _peak_mb(made[k], name, size, threads) for k in made},
            }
            if pair:
                tiled = subject("st-mfnet", preset, "tile")[0]
                found |= _pair(
                    folder, tiled, film, frames, name, threads, (height, width), f"{preset}-{size}"
                )
            records.append(record(**common, **found))
            print(
                {k: v for k, v in records[-1].items() if k not in ("machine", "versions", "date")}, flush=True
            )
            records += [record(**common, **each) for each in _forms(name, threads)]
    save("st_mfnet", records, ("preset", "size", "backend", "clip", "plan", "operator", "form"))
    raise SystemExit(1 if broken else 0)


def _parity(bundle: Bundle, model: Any, call: Any, library: str, threads: int) -> float:
    """Signal to error of one picture before rounding, in dB."""
    found = Session(bundle, library=library, threads=threads, exact=True).run(*call).outputs[0]
    with torch.no_grad():
        wanted = Eager(model)(*map(to_tensor, call)).outputs[0][0].numpy()
    return float(-10 * np.log10(max(float(np.square(found - wanted).mean()), 1e-20)))


def _eager(model: Any) -> Any:
    run = Eager(model)

    def call(*frames: Any) -> Any:
        with torch.no_grad():
            return run(*map(to_tensor, frames))

    return call


def _pair(
    folder: Path,
    model: Any,
    film: Sequence[Any],
    frames: Sequence[Any],
    library: str,
    threads: int,
    size: tuple[int, int],
    name: str,
) -> dict[str, Any]:
    """Realisation of the tiled pair at fixed shares, against its own larger network on all tiles and on the whole frame."""
    target = load(TARGETS[library])
    routed = exported(
        folder / f"{name}-pair-{TARGETS[library]}.edgeflow", model, target, "auto", [size], frames
    )
    whole = exported(
        folder / f"{name}-whole-{TARGETS[library]}.edgeflow",
        full_static(model),
        target,
        "auto",
        [size],
        frames,
    )
    policies = {"mixed": Mix(SHARES), "all full": Fixed(quality="full")}
    runs: dict[str, Any] = {
        key: Session(routed, library=library, threads=threads, policy=policy).run
        for key, policy in policies.items()
    }
    runs["whole"] = Session(whole, library=library, threads=threads).run
    timed = interleaved(runs, film, 2, lambda result: result.trace)
    flops = {key: float(np.mean([trace.flops for trace in each.kept])) for key, each in timed.items()}
    ms = {key: each.median for key, each in timed.items()}
    return {
        "pair_ms": {key: round(value, 2) for key, value in ms.items()},
        "pair_gflops": {key: value / 1e9 for key, value in flops.items()},
        "realisation": {
            against: (ms[against] / ms["mixed"]) / (flops[against] / flops["mixed"])
            for against in ("all full", "whole")
        },
    }


def _peak_mb(bundle: Path, library: str, size: str, threads: int) -> float:
    """Most memory that a process holds which runs one picture, less what it holds before the engines, in MB."""
    width, height = size.split("x")
    code = f"""
import re, numpy as np
from edgeflow.runtime import Session
from edgeflow.runtime.backends import open_backend
held = lambda field: int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
open_backend({library!r}, {threads})
empty = held("VmRSS")
session = Session({str(bundle)!r}, library={library!r}, threads={threads})
frames = [np.zeros(({height}, {width}, 3), np.uint8)] * 4
session.run(*frames)
session.run(*frames)
print(held("VmHWM") - empty)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


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
