"""FAN: every length's engine against the plain network's of that length, eager PyTorch and torch.compile.

python benchmarks/fan.py --preset tiny
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from interleaved import interleaved
from memory import built
from records import record, save
from subject import TARGETS, bundle_folder, exported, subject

from edgeflow.flow import Eager, RoutedModule, cost
from edgeflow.flow.quiet import quiet
from edgeflow.ir.bundle import WEIGHTS, open_bundle
from edgeflow.models.fan import FrameAdaptive, build
from edgeflow.runtime import Session
from edgeflow.targets import load

KEY = ("preset", "library", "frames")
LENGTHS = (4, 8, 16)
Clip = np.ndarray[Any, np.dtype[np.uint8]]


def main(
    preset: str = "tiny",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    clips: Annotated[int, typer.Option(help="That are timed, of every length.")] = 30,
    compiled: Annotated[bool, typer.Option("--compiled", help="Measure torch.compile, too.")] = False,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/fan.json."""
    threads = 1  # so that processor time is time
    torch.set_num_threads(threads)
    model, trained = subject("fan", preset)
    assert isinstance(model, FrameAdaptive)
    table = dict(zip(LENGTHS, cost(model).table("frame").values(), strict=True))
    records = []
    with bundle_folder(bundles) as folder:
        for name in library.split(","):
            target = load(TARGETS[name])
            routed = Session(exported(folder / f"{preset}-{name}.edgeflow", model, target), threads=threads)
            plain = {
                frames: Session(
                    exported(folder / f"{preset}-{frames}-{name}.edgeflow", alone(preset, frames), target),
                    threads=threads,
                )
                for frames in LENGTHS
            }
            kept = folder / f"{preset}-{name}-built.edgeflow"
            if not kept.exists():
                built(routed.bundle.path, kept, name, None)
            for frames in LENGTHS:
                shown = drawn(model, frames, clips)
                measured = timed(model, routed, plain, shown, frames, compiled)
                about = {
                    "preset": preset,
                    "library": name,
                    "frames": frames,
                    "trained": trained,
                    "threads": threads,
                }
                size = sizes(folder / f"{preset}-{name}.edgeflow", model)
                held = {
                    "resident_mb": resident(routed.bundle.path, name, LENGTHS, model),
                    "built_resident_mb": resident(kept, name, LENGTHS, model),
                    "plain_resident_mb": resident(plain[frames].bundle.path, name, [frames], model),
                }
                records.append(record(**about, flops=table[frames], **measured, **size, **held))
            relate(records[-len(LENGTHS) :])
            for own in records[-len(LENGTHS) :]:
                print({k: v for k, v in own.items() if k not in ("machine", "versions", "date")}, flush=True)
    print(save("fan", records, KEY))


def alone(preset: str, frames: int) -> RoutedModule:
    """The plain network of one length; its weights are random, which costs no time more or less."""
    torch.manual_seed(0)
    return build(preset, str(frames))


def drawn(model: FrameAdaptive, frames: int, count: int) -> list[Clip]:
    """Clips of noise that is brighter or darker."""
    rng = np.random.default_rng(frames)
    height, width = model.inputs[0].shape[2:]
    return [
        (rng.uniform(0, 255, (frames, height, width, 3)) * rng.uniform(0.2, 1)).astype(np.uint8)
        for _ in range(count)
    ]


def timed(
    model: FrameAdaptive,
    routed: Session,
    plain: dict[int, Session],
    shown: list[Clip],
    frames: int,
    compiled: bool,
) -> dict[str, Any]:
    """Processor milliseconds of a clip by every way, in turn; and how far the routed session is from the eager model."""
    eager = Eager(model)

    def torch_run(call: Callable[[torch.Tensor], Any]) -> Callable[[Clip], Any]:
        return lambda clip: call(torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float() / 255)

    runs: dict[str, Callable[[Clip], Any]] = {
        "before": plain[frames].run,  # does not count: it finds the caches as PyTorch left them
        "routed": routed.run,
        "plain": plain[frames].run,
        "longest": lambda clip: plain[LENGTHS[-1]].run(np.repeat(clip, LENGTHS[-1] // len(clip), 0)),
        "eager": torch_run(lambda clip: eager(clip).outputs[0]),
    }
    if compiled:
        made = torch.compile(lambda clip: model.classify(clip, frames))
        runs["compiled"] = torch_run(made)
    with torch.no_grad(), quiet():
        ways = {name: counted(run) for name, run in runs.items()}
        results = interleaved(ways, [(clip,) for clip in shown], 2, lambda result: result)
    spent = {name: np.array([ms for _, ms in way.kept]) for name, way in results.items()}
    errors, flips = [], 0
    for (mine, _), (wanted, _) in zip(results["routed"].kept, results["eager"].kept, strict=True):
        errors.append(float(np.abs(mine.outputs[0] - wanted[0].numpy()).max()))
        flips += mine.trace.choices != {"frames": [frames]}
    return {
        **{f"{name}_ms": float(np.median(ms)) for name, ms in spent.items() if name != "before"},
        "clips_per_second": 1e3 / float(np.median(spent["routed"])),
        "over_plain": float(np.median(spent["routed"] / spent["plain"])),
        "max_error": max(errors),
        "flips": flips,
    }


def counted(run: Callable[[Clip], Any]) -> Callable[[Clip], tuple[Any, float]]:
    """A run that says how many milliseconds the processor worked for it: others that share the machine do not count."""

    def call(clip: Clip) -> tuple[Any, float]:
        before = process_time()
        made = run(clip)
        return made, (process_time() - before) * 1e3

    return call


def relate(records: list[dict[str, Any]]) -> None:
    """Time saved over FLOPs saved, against the plain network of the longest length."""
    full = records[-1]
    for own in records:
        own["flops_saved"] = full["flops"] / own["flops"]
        own["speedup"] = own["longest_ms"] / own["routed_ms"]
        own["realisation"] = own["speedup"] / own["flops_saved"]


def sizes(path: Path, model: FrameAdaptive) -> dict[str, Any]:
    """Bytes of the weights that are stored, over one network's and what the paper's lengths differ in."""
    stored = open_bundle(path).manifest.files[WEIGHTS].bytes
    counts = {name: 4 * own.numel() for name, own in model.named_parameters()}
    own = sum(count for name, count in counts.items() if "norms." in name or "thetas." in name)
    one = sum(counts.values()) - own + own // len(LENGTHS)
    return {"weight_bytes": stored, "network_bytes": one, "differs_bytes": own, "size_ratio": stored / one}


def resident(bundle: Path, library: str, lengths: Sequence[int], model: FrameAdaptive) -> float:
    """MB (Pss) of a fresh process that has run a clip of every length, without what it held before the engines."""
    height, width = model.inputs[0].shape[2:]
    code = f"""
import gc, re
import numpy as np
from edgeflow.runtime import Session
from edgeflow.runtime.backends import open_backend
def held():
    gc.collect()
    return int(re.search(r"Pss:\\s+(\\d+)", open("/proc/self/smaps_rollup").read())[1]) * 1024 / 1e6
open_backend({library!r}, 1)
empty = held()
session = Session({str(bundle)!r}, library={library!r}, threads=1)
for frames in {list(lengths)!r}:
    session.run(np.zeros((frames, {height}, {width}, 3), np.uint8))
print(held() - empty)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


if __name__ == "__main__":
    typer.run(main)
