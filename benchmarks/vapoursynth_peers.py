"""RIFE in VapourSynth: edgeflow's filter, routed and whole, beside vs-mlrt's OpenVINO filter on the same network.

    pip install vapoursynth vapoursynth-mlrt-ov        # Python 3.12 or newer
    python benchmarks/vapoursynth_peers.py cups.mp4 --size 640x384

The whole network of the preset is exported once for edgeflow and once as one ONNX file for vs-mlrt, at the same size, in float32.
A clip of the same frames goes through each filter to twice its rate; all run in one process, in turn. Given is the wall clock of a
made picture in milliseconds, the median of the rounds, and how far the pictures of the two whole networks are apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import openvino  # noqa: F401  # before VapourSynth loads vs-mlrt's plugin, which carries an OpenVINO of its own
import torch
import typer
import vapoursynth as vs
from records import record, save
from subject import exported, parsed_size, pictures_of, subject
from torch import nn

from edgeflow.flow import Eager
from edgeflow.hosts.vapoursynth import apply
from edgeflow.hosts.vapoursynth.formats import pixels, put_pixels
from edgeflow.models import family as family_of
from edgeflow.targets import load

KEY = ("preset", "clip", "size", "frames", "threads")


class Stacked(nn.Module):
    """A whole network that takes both frames and a plane of the time as channels, as vs-mlrt gives them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = Eager(self.model)(x[:, :3], x[:, 3:6], x[:, 6, 0, :1]).outputs[0]
        return made.clamp(0, 1)


def main(
    clip: Path,
    preset: str = "4.0",
    size: str = "640x384",
    frames: int = 12,
    rounds: int = 5,
    threads: int = 2,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/vapoursynth_peers.json."""
    height, width = parsed_size(size)
    shown = pictures_of(clip, frames, (height, width))
    with tempfile.TemporaryDirectory() as temporary:
        folder = bundles or Path(temporary)
        folder.mkdir(exist_ok=True)
        model, _ = subject("rife", preset, "flow")
        static = family_of("rife").full_static(model)
        target = load("openvino-cpu")
        routed, whole = (
            exported(folder / f"rife-{preset}-{name}-{size}", each, target, "routes")
            for name, each in (("routed", model), ("static", static))
        )
        network = folder / f"rife-{preset}-{size}.onnx"
        if not network.exists():
            given = torch.rand(1, 7, height, width)
            torch.onnx.export(
                Stacked(static).eval(), (given,), str(network), dynamo=True, external_data=False
            )
        source = _clip(shown, rounds + 1)
        filters: dict[str, Callable[[], vs.VideoNode]] = {
            "mlrt 1 stream": lambda: _mlrt(source, network, 1, threads),
            "mlrt 2 streams": lambda: _mlrt(source, network, 2, threads),
            "edgeflow whole, 1 in flight": lambda: apply(source, whole, threads=threads, in_flight=1),
            "edgeflow whole, 2 in flight": lambda: apply(source, whole, threads=threads, in_flight=2),
            "edgeflow routed, 1 in flight": lambda: apply(source, routed, threads=threads, in_flight=1),
            "edgeflow routed, 2 in flight": lambda: apply(source, routed, threads=threads, in_flight=2),
        }
        times: dict[str, list[float]] = {name: [] for name in filters}
        made: dict[str, list[Any]] = {}
        nodes = {name: make() for name, make in filters.items()}
        for number in range(rounds + 1):
            for name, node in nodes.items():
                part = node[
                    2 * number * frames : 2 * (number + 1) * frames
                ]  # no round finds another's in a cache
                start = perf_counter()
                pictures = list(part.frames())
                if number:  # the first round warms up
                    times[name].append((perf_counter() - start) * 1e3 / (frames - 1))
                made.setdefault(name, [pixels(picture) for picture in pictures[:-1]])
    apart = np.abs(np.subtract(made["mlrt 1 stream"], made["edgeflow whole, 1 in flight"], dtype=np.int16))
    found = {name: round(float(np.median(each)), 1) for name, each in times.items()}
    fields = {"preset": preset, "clip": clip.stem, "size": size, "frames": frames, "threads": threads}
    print(found, "mean difference", apart.mean(), "largest", apart.max())
    save(
        "vapoursynth_peers",
        [record(**fields, ms=found, mean_difference=float(apart.mean()), largest=int(apart.max()))],
        KEY,
    )


def _clip(frames: list[Any], rounds: int) -> vs.VideoNode:
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


def _mlrt(source: vs.VideoNode, network: Path, streams: int, threads: int) -> vs.VideoNode:
    """Twice the rate, the way vs-mlrt's own scripts do it."""
    rgb = source.resize.Point(format=vs.RGBS)
    time = vs.core.std.BlankClip(rgb, format=vs.GRAYS, color=0.5, keep=True)
    following = rgb.std.DuplicateFrames([rgb.num_frames - 1])[1:]
    config = lambda: {"INFERENCE_NUM_THREADS": threads}  # noqa: E731
    made = vs.core.ov.Model(
        [rgb, following, time], str(network), device="CPU", num_streams=streams, config=config
    )
    return vs.core.std.Interleave([source, made.resize.Point(format=vs.RGB24)])


if __name__ == "__main__":
    typer.run(main)
