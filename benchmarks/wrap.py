"""Static networks wrapped, beside the same networks plain on whole frames: milliseconds a call, and how near the pictures are.

    python benchmarks/wrap.py examples/denoise_ffdnet.py:build cups.mp4 juggle.mp4 --size 640x360
    python benchmarks/wrap.py examples/denoise_ffdnet.py:strong juggle.mp4 --size 640x360 --noise 15
    python benchmarks/wrap.py examples/segment_sky.py:build juggle.mp4 --library openvino

Routes are tuned on a clip's first frames and measured on those that follow, which tuning did not see. Both networks run in one
process, in turn, on the same library; PyTorch runs `--eager` frames after that. With `--noise` the clip is the truth, and the
network is given it with so much noise.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from records import record, save
from subject import TARGETS, Pictures, parsed_size, pictures_of

from edgeflow.cli.reference import find_function
from edgeflow.export.compile import compile_model
from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.errors import InputError
from edgeflow.targets import load
from edgeflow.wrap import wrap
from edgeflow.wrap.judge import judge
from edgeflow.wrap.wrapping import Wrapping, shown_of

KEY = ("model", "backend", "clip", "size", "noise", "twice", "max_drop", "threads")


def main(
    model: Annotated[str, typer.Argument(help="path/to/file.py:build")],
    clips: Annotated[list[Path], typer.Argument(help="The videos.")],
    library: str = "onnxruntime",
    size: Annotated[str, typer.Option(help="Resize the clips, as 640x360.")] = "",
    frames: Annotated[int, typer.Option(help="Tuned on, of every clip; as many are measured.")] = 16,
    skip: Annotated[int, typer.Option(help="Frames of every clip that are left out first.")] = 0,
    noise: Annotated[
        float, typer.Option(help="Standard deviation, in levels of 255, of noise to add.")
    ] = 0.0,
    twice: Annotated[
        bool, typer.Option("--twice", help="Show every frame twice, as drawn films often are.")
    ] = False,
    max_drop: Annotated[float, typer.Option(help="dB that routing may cost.")] = 0.1,
    eager: Annotated[int, typer.Option(help="Frames that PyTorch runs, too.")] = 3,
) -> None:
    """Measure and save results/wrap.json."""
    threads = torch.get_num_threads()
    records = []
    for clip in clips:
        truth = pictures_of(clip, skip + 2 * frames, parsed_size(size) if size else None)[skip:]
        truth = [frame for frame in truth for _ in range(2)][: 2 * frames] if twice else truth
        shown = _noisy(truth, noise) if noise else truth
        for backend in library.split(","):
            found = _measured(model, shown, truth if noise else [], frames, TARGETS[backend], max_drop, eager)
            records.append(
                record(
                    model=model.rpartition(":")[0].rpartition("/")[2].removesuffix(".py"),
                    backend=backend,
                    clip=clip.stem,
                    size="x".join(map(str, truth[0].shape[1::-1])),
                    noise=noise,
                    twice=twice,
                    max_drop=max_drop,
                    threads=threads,
                    **found,
                )
            )
            print(
                {k: v for k, v in records[-1].items() if k not in ("machine", "versions", "date")}, flush=True
            )
            save("wrap", records, KEY)


def _measured(
    model: str, shown: Pictures, truth: Pictures, frames: int, target: str, max_drop: float, eager: int
) -> dict[str, Any]:
    """What wrapping a network on a clip comes to; why not, where it is refused."""
    network, wanted = find_function(model)(), load(target)
    start = perf_counter()
    try:
        found = wrap(network, shown[:frames], wanted, max_drop=max_drop, truth=truth[:frames])
    except InputError as error:
        return {"refused": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "wrapped.edgeflow"
        compile_model(found.model, wanted, bundle, reference={}, strategy="routes")
        seconds = perf_counter() - start
        unseen = shown_of(found.form, shown[frames:], truth[frames:])
        report, _ = judge(found, bundle, wanted, max_drop, unseen)
    measured = report.to_json()
    del measured["max_drop"]
    return {
        **measured,
        "tiling": asdict(found.tuned.tiling),
        "expected_time": found.tuned.outcome.time,
        "reach": found.reach.pixels,
        "whole_frame_operators": list(found.reach.everywhere),
        "wrap_seconds": seconds,
        "eager_ms": _eager_ms(found, eager),
    }


def _noisy(frames: Pictures, noise: float) -> Pictures:
    random = np.random.default_rng(0)
    added = (frame + random.normal(0, noise, frame.shape) for frame in frames)
    return [each.clip(0, 255).round().astype(np.uint8) for each in added]


def _eager_ms(found: Wrapping, count: int) -> float:
    """Median milliseconds of PyTorch on whole frames."""
    run, times = Eager(found.static), []
    calls: tuple[tuple[NDArray[np.uint8], ...], ...] = found.shown.calls
    for call in calls[: count + 1]:
        start = perf_counter()
        run(*map(to_tensor, call))
        times.append((perf_counter() - start) * 1e3)
    return float(np.median(times[1:]))


if __name__ == "__main__":
    typer.run(main)
