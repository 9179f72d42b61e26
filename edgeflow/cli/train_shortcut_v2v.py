"""`edgeflow train shortcut-v2v`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edgeflow.cli.train_progress import train_and_keep
from edgeflow.ir.errors import TrainError

if TYPE_CHECKING:
    from edgeflow.models.shortcut_v2v import ShortcutV2V
    from edgeflow.training.loop import Length, Run


class PresetName(str, Enum):
    """Sizes of the teacher."""

    full = "full"
    tiny = "tiny"


class Dependence(str, Enum):
    """How much of the teacher a shortcut frame runs."""

    low = "low"
    medium = "medium"
    high = "high"


def shortcut_v2v(
    data: Annotated[Path, typer.Option(help="Folder of video files.")],
    run: Annotated[
        Path,
        typer.Option(
            help="Folder for checkpoint, log, decoded frames and the trained weights. A run that was stopped "
            "goes on from its checkpoint here."
        ),
    ],
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Weights of a trained teacher (.safetensors, of this preset and any dependence). Without, a "
            "teacher is trained first, to paint each frame from what its first modules see."
        ),
    ] = None,
    preset: Annotated[
        PresetName, typer.Option(help="tiny paints frames from edges; full is the paper's and wants a GPU.")
    ] = PresetName.tiny,
    dependence: Annotated[
        Dependence, typer.Option(help="How much of the teacher a shortcut frame runs.")
    ] = Dependence.medium,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Length of the training; 60 if --steps is not given either."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length in steps, instead of --minutes.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="File name of a clip that training must not see. Repeatable.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if not given.")] = None,
    device: Annotated[
        str, typer.Option(help="Where to train, as torch names it: cpu, cuda, cuda:1, mps.")
    ] = "cpu",
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train Shortcut-V2V: the block that stands in for most of a video translator between key frames.

    Frames are resized to the preset's size. Ctrl-C keeps what was learnt; the same command goes on
    from there.
    """
    if minutes is not None and steps is not None:
        raise TrainError("a training has one length: give --minutes or --steps, not both")
    from edgeflow.training.device import use_device
    from edgeflow.training.loop import Length

    use_device(device)
    length = Length(steps, None if steps else minutes or 60.0)
    notes = Console(stderr=True)
    model, job = _prepare(
        data, run, teacher, preset.value, dependence.value, length, hold_out or [], threads, seed, notes
    )
    train_and_keep(job, run, lambda steps: _keep(model, run, job.identity, steps), notes, as_json)


def _prepare(
    data: Path,
    folder: Path,
    teacher: Path | None,
    preset: str,
    dependence: str,
    length: Length,
    hold_out: list[str],
    threads: int | None,
    seed: int,
    notes: Console,
) -> tuple[ShortcutV2V, Run]:
    import numpy as np
    import torch

    from edgeflow.models.shortcut_v2v import PRESETS, build
    from edgeflow.models.shortcut_v2v.weights import load_teacher
    from edgeflow.training.data import load_clips
    from edgeflow.training.loop import Run
    from edgeflow.training.samples import Pairs
    from edgeflow.training.shortcut_v2v import RECIPES, Curriculum

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = build(preset, dependence).train()
    if teacher:
        load_teacher(model, teacher)
    with notes.status("decoding clips"):
        clips = load_clips(data, folder / "cache", hold_out, PRESETS[preset].size)
    for line in clips.skipped:
        notes.print(line, soft_wrap=True)
    curriculum = Curriculum(model, Pairs(clips.training, rng), RECIPES[preset], teach=teacher is None)
    identity = {"preset": preset, "variant": dependence, "teacher": teacher.name if teacher else "trained"}
    return model, Run(curriculum, curriculum.stages(), length, folder, rng, identity)


def _keep(model: ShortcutV2V, folder: Path, identity: Mapping[str, str], steps: int) -> Path:
    from edgeflow import __version__
    from edgeflow.models.shortcut_v2v.weights import save_weights

    path = folder / "weights.safetensors"
    save_weights(model, path, {**identity, "steps": str(steps), "version": __version__})
    return path
