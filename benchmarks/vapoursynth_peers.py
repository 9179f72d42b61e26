"""RIFE in VapourSynth: edgeflow's filter, routed and whole, beside vs-mlrt's filter of the same engine library on the same network.

    python benchmarks/vapoursynth_case.py cups.mp4 CASE --size 640x384        # needs torch
    pip install vapoursynth vapoursynth-mlrt-ov vapoursynth-mlrt-ort          # Python 3.12 or newer
    python benchmarks/vapoursynth_peers.py CASE

A clip of every second frame goes through each filter to twice its rate; all run in one process, in turn. Given are milliseconds of a
made picture, by the wall clock and of the processor on all threads (which other programs hardly add to), medians of the rounds; and the
PSNR of what each made: against what PyTorch makes in float32, and against the frames that were left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import openvino  # noqa: F401  # before VapourSynth loads vs-mlrt's plugin, which carries an OpenVINO of its own
import typer
import vapoursynth as vs
from numpy.typing import NDArray
from records import record, save

from edgeflow.hosts.vapoursynth import apply
from edgeflow.hosts.vapoursynth.formats import pixels, put_pixels
from edgeflow.ir.bundle import open_bundle

KEY = ("preset", "clip", "size", "frames", "threads", "library", "precision")

Pictures = NDArray[np.uint8]
"""Each (h, w, 3)."""


def main(case: Path, rounds: int = 5, threads: int = 2) -> None:
    """Measure a case and save results/vapoursynth_peers.json."""
    asked = json.loads((case / "case.json").read_text())
    with np.load(case / "pictures.npz") as held:
        shown, left_out, exact = (held[name] for name in ("shown", "left_out", "exact"))
    source = _clip(shown, rounds + 1)
    kinds = [kind for kind in ("whole", "routed") if kind not in asked["refused"]]
    filters = {
        f"mlrt {count} stream{'s' * (count > 1)}": _mlrt(
            source, case / "network.onnx", count, threads, asked["library"], asked["precision"]
        )
        for count in (1, 2)
    } | {
        f"edgeflow {kind}, {count} in flight": apply(source, case / kind, threads=threads, in_flight=count)
        for kind in kinds
        for count in (1, 2)
    }
    times, made = _timed(filters, len(shown), rounds)
    found = {
        "ms": {name: round(float(np.median(each, 0)[0]), 1) for name, each in times.items()},
        "processor_ms": {name: round(float(np.median(each, 0)[1]), 1) for name, each in times.items()},
        "psnr_of_exact": {name: _psnr(exact, each) for name, each in made.items()},
        "psnr": {"PyTorch": _psnr(left_out, exact)}
        | {name: _psnr(left_out, each) for name, each in made.items()},
        "engines": {kind: _precisions(case / kind) for kind in kinds},
    }
    for key, value in found.items():
        print(key, value)
    save("vapoursynth_peers", [record(**asked, threads=threads, **found)], KEY)


def _timed(
    filters: Mapping[str, vs.VideoNode], frames: int, rounds: int
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, Pictures]]:
    """Milliseconds of a made picture by the wall clock and by the processor's, by round; and what was made."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in filters}
    made: dict[str, Pictures] = {}
    for number in range(rounds + 1):
        for name, node in filters.items():
            first = 2 * number * frames  # no round finds another's in a cache
            part = node[first : first + 2 * frames - 1]  # nothing is made between rounds
            start, worked = perf_counter(), process_time()
            pictures = list(part.frames())
            if number:  # the first round warms up
                spent = perf_counter() - start, process_time() - worked
                times[name].append((spent[0] * 1e3 / (frames - 1), spent[1] * 1e3 / (frames - 1)))
            made.setdefault(name, np.stack([pixels(picture) for picture in pictures[1::2]]))
    return times, made


def _psnr(truth: Pictures, made: Pictures) -> float | None:
    """Mean over the pictures; None where all are the same."""
    errors = ((truth.astype(np.float64) - made) ** 2).mean((1, 2, 3))
    return round(float(np.mean(10 * np.log10(255**2 / errors))), 2) if errors.all() else None


def _precisions(bundle: Path) -> dict[str, int]:
    """How many engines of a bundle are at each precision."""
    return dict(Counter(graph.precision for graph in open_bundle(bundle).manifest.graphs.values()))


def _clip(frames: Pictures, rounds: int) -> vs.VideoNode:
    """The frames over and over, each time a scene."""
    height, width, _ = frames[0].shape
    length = len(frames) * rounds
    blank = vs.core.std.BlankClip(
        format=vs.RGB24, width=width, height=height, length=length, fpsnum=25, keep=True
    )

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        put_pixels(frames[n % len(frames)], out)
        out.props["_SceneChangePrev"] = int(n > 0 and n % len(frames) == 0)
        return out

    return vs.core.std.ModifyFrame(blank, blank, fill)


def _mlrt(
    source: vs.VideoNode, network: Path, streams: int, threads: int, library: str, precision: str
) -> vs.VideoNode:
    """Twice the rate, the way vs-mlrt's own scripts do it. Its filter of ONNX Runtime leaves the threads of a stream to that."""
    rgb = source.resize.Point(format=vs.RGBS)
    time = vs.core.std.BlankClip(rgb, format=vs.GRAYS, color=0.5, keep=True)
    following = rgb.std.DuplicateFrames([rgb.num_frames - 1])[1:]
    given = [rgb, following, time], str(network)
    if library == "openvino":
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        made = vs.core.ov.Model(*given, device="CPU", num_streams=streams, config=lambda: config)
    else:
        made = vs.core.ort.Model(*given, provider="CPU", num_streams=streams)
    return vs.core.std.Interleave([source, made.resize.Point(format=vs.RGB24)])


if __name__ == "__main__":
    typer.run(main)
