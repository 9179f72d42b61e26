"""`edgeflow train cain-sd`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from edgeflow.cli.train_progress import train_and_keep
from edgeflow.ir.errors import TrainError

if TYPE_CHECKING:
    from edgeflow.models.cain_sd import CAINSD
    from edgeflow.training.loop import Length, Run


class PresetName(str, Enum):
    """Sizes of CAIN-SD."""

    full = "full"
    small = "small"
    tiny = "tiny"


class Variant(str, Enum):
    """What CAIN-SD chooses."""

    S = "S"
    D = "D"
    SD = "SD"


def cain_sd(
    data: Annotated[Path, typer.Option(help="Folder of video files. Clips that move teach most.")],
    run: Annotated[
        Path,
        typer.Option(
            help="Folder for checkpoint, log, decoded frames and the trained weights. A run that was stopped "
            "goes on from its checkpoint here."
        ),
    ],
    preset: Annotated[
        PresetName,
        typer.Option(
            help="Size: full is the paper's and wants a GPU; small can be trained on a CPU, in hours; tiny is for tests."
        ),
    ] = PresetName.small,
    variant: Annotated[
        Variant, typer.Option(help="What is chosen per patch: S scale, D depth, SD both.")
    ] = Variant.SD,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Length of the training; 60 if --steps is not given either."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length in steps, instead of --minutes.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="File name of a clip that training must not see. Repeatable.")
    ] = None,
    lambda_scale: Annotated[
        float | None,
        typer.Option(min=0, help="Price of scale's FLOPs per pixel; higher is cheaper and blurrier."),
    ] = None,
    lambda_depth: Annotated[
        float | None,
        typer.Option(min=0, help="Price of depth's FLOPs per pixel; higher leaves earlier."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if not given.")] = None,
    device: Annotated[
        str, typer.Option(help="Where to train, as torch names it: cpu, cuda, cuda:1, mps.")
    ] = "cpu",
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train CAIN-SD, frame interpolation that picks a scale and a depth for every patch.

    Learns from a folder of clips: every middle frame of three is its own label. Ctrl-C keeps what
    was learnt; the same command goes on from there.
    """
    if minutes is not None and steps is not None:
        raise TrainError("a training has one length: give --minutes or --steps, not both")
    from edgeflow.training.device import use_device
    from edgeflow.training.loop import Length

    use_device(device)
    length = Length(steps, None if steps else minutes or 60.0)
    notes = Console(stderr=True)
    prices: dict[str, Any] = {"lambda_scale": lambda_scale, "lambda_depth": lambda_depth}
    chosen = {name: price for name, price in prices.items() if price is not None}
    model, job = _prepare(
        data, run, preset.value, variant.value, length, hold_out or [], chosen, threads, seed, notes
    )
    train_and_keep(job, run, lambda steps: _keep(model, run, steps), notes, as_json)


def _prepare(
    data: Path,
    folder: Path,
    preset: str,
    variant: str,
    length: Length,
    hold_out: list[str],
    prices: dict[str, Any],
    threads: int | None,
    seed: int,
    notes: Console,
) -> tuple[CAINSD, Run]:
    from dataclasses import replace

    import numpy as np
    import torch

    from edgeflow.models.cain_sd import build
    from edgeflow.training.cain_sd import RECIPES, Curriculum
    from edgeflow.training.data import load_clips
    from edgeflow.training.loop import Run
    from edgeflow.training.samples import Samples

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    with notes.status("decoding clips"):
        clips = load_clips(data, folder / "cache", hold_out)
    for line in clips.skipped:
        notes.print(line, soft_wrap=True)
    recipe = replace(RECIPES[preset], **prices)
    model = build(preset, variant).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    curriculum = Curriculum(model, Samples(clips.training, recipe.crop, rng), recipe)
    curriculum.start()
    return model, Run(model, curriculum.stages(), length, folder, rng, {"preset": preset, "variant": variant})


def _keep(model: CAINSD, folder: Path, steps: int) -> Path:
    from edgeflow import __version__
    from edgeflow.models.cain_sd.weights import save_weights

    path = folder / "weights.safetensors"
    save_weights(model, path, facts={"steps": str(steps), "version": __version__})
    return path
