"""How good a family's packaged model is, clip by clip, by the family's own measure.

    python benchmarks/quality.py --data FOLDER [--family NAME] [--hold-out CLIP ...]

Clips that training saw are scored on their last fifth, held-out clips from their start.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from records import record, save

from edgeflow.ir.errors import TrainError
from edgeflow.models import family as family_of
from edgeflow.models.family import called
from edgeflow.models.weights import load_weights
from edgeflow.training.data import load_clips


def main(
    data: Annotated[Path, typer.Option(help="Folder of video files.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "cain-sd",
    preset: Annotated[str, typer.Option(help="The family's own choice if not given.")] = "",
    variant: Annotated[str, typer.Option(help="The family's own choice if not given.")] = "",
    weights: Annotated[Path | None, typer.Option(help="The packaged ones if not given.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="For decoded frames; a temporary one if not given.")
    ] = None,
    hold_out: Annotated[list[str] | None, typer.Option(help="Clips that training did not see.")] = None,
    most: Annotated[
        int | None, typer.Option(help="Pictures per clip; the family's own choice if not given.")
    ] = None,
) -> None:
    """Score every clip and save results/FAMILY_quality.json."""
    own, held_out = family_of(family), hold_out or []
    kind = own.options(preset, variant)
    weights = weights or own.weights(**kind)
    if weights is None or own.evaluate is None:
        raise TrainError(
            f"{family} {' '.join(kind.values())} has no packaged weights, or the family no evaluation"
        )
    model = own.model(**kind)
    trained = load_weights(model, weights)
    fewer: dict[str, Any] = {} if most is None else {"most": most}
    records = []
    with tempfile.TemporaryDirectory() as temporary:
        clips = load_clips(data, cache or Path(temporary), held_out, model.size)
        for clip in (*clips.training, *clips.held_out):
            score = asdict(called(own.evaluate)(model, clip, clip.name in held_out, **fewer))
            print(" ".join(f"{name}={_short(value)}" for name, value in score.items()), flush=True)
            about = {"family": family, **kind, "held_out": clip.name in held_out, "weights": trained}
            records.append(record(**about, **score))
    name = f"{family.replace('-', '_')}_quality"
    print(save(name, records, ("family", "preset", "variant", "clip")))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_short(each)}" for name, each in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
