"""An interpolator routed, beside the same network whole: milliseconds a picture, and how near it comes to frames that were left out.

    python benchmarks/interpolation.py cups.mp4 juggle.mp4 --held-out cups.mp4
    python benchmarks/interpolation.py juggle.mp4 --variant refined --library openvino --eager 3

Every second frame of a clip is left out and predicted from its neighbours. The routed model, the static one (whole frames) and, for
`--eager` pictures, PyTorch run in one process, in turn. `flicker` is how much the error changes from one picture to the next:
mean absolute difference, in levels of 255. Realisation is the time saved over the FLOPs saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from interleaved import Timed, interleaved
from numpy.typing import NDArray
from records import record, save
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from subject import TARGETS, Pictures, bundle_folder, exported, parsed_size, pictures_of, subject

from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.models import family as family_of
from edgeflow.runtime import Quality, Result, Session
from edgeflow.targets import load

WARM = 2
PLANNED = 12
"""Frames of the first clip, with which int8 is calibrated."""
ROUNDS = 5
"""Of every picture, since the slowest is told, and single calls are not to be trusted."""
KEY = ("family", "preset", "variant", "backend", "precision", "clip", "size", "quality", "threads", "clock")

Predicted = tuple[NDArray[np.uint8], Any]
"""A picture, and the trace of the call that made it, if it was traced."""


def main(
    clips: Annotated[list[Path], typer.Argument(help="The videos.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "rife",
    preset: Annotated[str, typer.Option(help="The family's own choice if not given.")] = "",
    variant: Annotated[str, typer.Option(help="The family's own choice if not given.")] = "",
    library: str = "onnxruntime,openvino",
    precision: Annotated[
        str, typer.Option(help="fp32, bf16 (OpenVINO), or int8, calibrated with the first clip.")
    ] = "fp32",
    pictures: Annotated[int, typer.Option(help="Predicted and scored, of every clip.")] = 12,
    eager: Annotated[int, typer.Option(help="Of these also by PyTorch.")] = 0,
    quality: Annotated[str, typer.Option(help="Weights of quality against time, 0 to 1.")] = "0.5",
    threads: int = 2,
    size: Annotated[str, typer.Option(help="Resize the clips, as 640x360.")] = "",
    processor: Annotated[
        bool,
        typer.Option(help="Processor time of one thread, which no other program adds to; else wall clock."),
    ] = False,
    held_out: Annotated[list[str] | None, typer.Option(help="Clips that no training saw.")] = None,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/interpolation.json."""
    threads = 1 if processor else threads
    clock = process_time if processor else perf_counter
    torch.set_num_threads(threads)
    own = family_of(family)
    kind = own.options(preset or None, variant or None)
    model, trained = subject(family, **kind)
    assert own.full_static is not None
    models = {"routed": model, "static": own.full_static(model)}
    records = []
    with bundle_folder(bundles) as folder:
        for backend in library.split(","):
            target = load(TARGETS[backend]).at(precision)
            paths = {
                name: exported(
                    folder / f"{family}-{kind['variant']}-{name}-{target.name}-{precision}",
                    m,
                    target,
                    "routes",
                    frames=pictures_of(clips[0], PLANNED) if precision == "int8" else (),
                )
                for name, m in models.items()
            }
            for clip in clips:
                frames = pictures_of(
                    clip, 2 * (pictures + WARM) + 1, parsed_size(size) if size else model.size
                )
                for weight in map(float, quality.split(",")):
                    sessions = {
                        "routed": Session(paths["routed"], policy=Quality(weight), threads=threads),
                        "static": Session(paths["static"], threads=threads),
                    }
                    timed = _timed({n: _session(s) for n, s in sessions.items()}, frames, clock)
                    found = {
                        f"{n}_{key}": value
                        for n, each in timed.items()
                        for key, value in _scores(each, frames).items()
                    }
                    found |= _saving(timed)
                    if eager:
                        short = frames[: 2 * (eager + WARM) + 1]
                        found["eager_static_ms"] = _timed({"eager": _eager(models["static"])}, short, clock)[
                            "eager"
                        ].median
                    records.append(
                        record(
                            family=family,
                            **kind,
                            backend=backend,
                            precision=precision,
                            clip=clip.stem,
                            quality=weight,
                            size="x".join(map(str, frames[0].shape[1::-1])),
                            pictures=pictures,
                            threads=threads,
                            clock=clock.__name__,
                            trained=trained,
                            held_out=clip.name in (held_out or []),
                            **found,
                        )
                    )
                    print(
                        {k: v for k, v in records[-1].items() if k not in ("machine", "versions", "date")},
                        flush=True,
                    )
    save("interpolation", records, KEY)


def _session(session: Session) -> Callable[..., Predicted]:
    def predict(frame0: NDArray[np.uint8], frame1: NDArray[np.uint8]) -> Predicted:
        result: Result = session.run(frame0, frame1, *_halfway(session))
        return result.outputs[0], result.trace

    return predict


def _halfway(session: Session) -> list[NDArray[np.float32]]:
    """The time, for a model that takes one."""
    return [np.float32([0.5])] * session.bundle.manifest.task.timed


def _eager(model: Any) -> Callable[..., Predicted]:
    timed = model.task is not None and model.task.timed

    def predict(frame0: NDArray[np.uint8], frame1: NDArray[np.uint8]) -> Predicted:
        given = [to_tensor(frame0), to_tensor(frame1), *[torch.full((1, 1), 0.5)] * timed]
        with torch.no_grad():
            made = Eager(model)(*given).outputs[0][0]
        return (made.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy(), None

    return predict


def _timed(
    runs: Mapping[str, Callable[..., Predicted]], frames: Pictures, clock: Callable[[], float]
) -> dict[str, Timed[Predicted]]:
    """Every second frame, predicted from its neighbours."""
    calls = list(zip(frames[:-2:2], frames[2::2], strict=True))
    return interleaved(runs, calls, WARM, lambda made: made, rounds=ROUNDS, clock=clock)


def _scores(timed: Timed[Predicted], frames: Pictures) -> dict[str, float]:
    """How near the pictures are to the frames that were left out."""
    truth = frames[1 + 2 * WARM :: 2][: len(timed.kept)]
    made = [picture for picture, _ in timed.kept]
    errors = [a.astype(np.float32) - b for a, b in zip(made, truth, strict=True)]
    steps = [np.abs(after - before).mean() for before, after in pairwise(errors)]
    pairs = list(zip(truth, made, strict=True))
    return {
        "ms": timed.median,
        "psnr": float(np.mean([peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs])),
        "worst_psnr": float(np.min([peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs])),
        "ssim": float(
            np.mean([structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in pairs])
        ),
        "flicker": float(np.mean(steps)),
    }


def _saving(timed: Mapping[str, Timed[Predicted]]) -> dict[str, Any]:
    """What the routes saved, in FLOPs and in time."""
    each = {name: [trace.flops for _, trace in own.kept] for name, own in timed.items()}
    flops = {name: float(np.mean(own)) for name, own in each.items()}
    ratios = np.divide(timed["static"].ms, timed["routed"].ms)
    own = np.divide(each["static"], each["routed"])
    return {
        "gflops": {name: value / 1e9 for name, value in flops.items()},
        "speed_up": float(np.median(ratios)),
        "slowest_speed_up": float(np.min(ratios)),
        "realisation": float(np.median(ratios / own)),
        "routes": _routes([trace.choices for _, trace in timed["routed"].kept]),
    }


def _routes(choices: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, dict[str, float]]:
    """Per decision, what share of all regions took each value."""
    counted: dict[str, Counter[str]] = {}
    for each in choices:
        for name, taken in each.items():
            counted.setdefault(name, Counter()).update(map(str, taken))
    return {n: {v: round(k / sum(c.values()), 3) for v, k in c.most_common()} for n, c in counted.items()}


if __name__ == "__main__":
    typer.run(main)
