"""How good ST-MFNet's networks are on clips that none has seen, and what a pair's router is worth between them.

python benchmarks/st_mfnet_quality.py --data FOLDER --larger tiny.safetensors --alone mini.safetensors --distilled mini.safetensors --router pair.safetensors

Every second frame is left out, predicted, and compared at half size, all clips at 448x256.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from records import record, save

from edgeflow.models.st_mfnet import PRESETS, Interpolator, Pair, build
from edgeflow.models.st_mfnet.router import CELL, WORTH
from edgeflow.models.weights import load_weights
from edgeflow.training.data import Clip, load_clips
from edgeflow.training.evaluate import picture_of
from edgeflow.training.evaluate_st_mfnet import evaluate, windows
from edgeflow.training.st_mfnet_router import PATCH, measured

SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Of patches that take the larger network."""


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips that training did not see.")],
    larger: Annotated[Path | None, typer.Option(help="Weights of the larger network alone.")] = None,
    alone: Annotated[Path | None, typer.Option(help="Weights of its mini, trained on the truth.")] = None,
    distilled: Annotated[
        Path | None, typer.Option(help="Weights of its mini, trained on what the larger one makes, too.")
    ] = None,
    router: Annotated[Path | None, typer.Option(help="Weights of the pair.")] = None,
    preset: str = "tiny",
    most: Annotated[int, typer.Option(help="Pictures of a clip.")] = 8,
) -> None:
    """Score what is given and save results/st_mfnet_quality.json."""
    mini = PRESETS[preset].mini
    networks = {
        "larger": (preset, larger),
        "mini alone": (mini, alone),
        "mini distilled": (mini, distilled),
    }
    records = []
    with tempfile.TemporaryDirectory() as cache:
        for clip in load_clips(data, Path(cache), (), PRESETS[preset].size).training:
            for name, (own, weights) in networks.items():
                if weights is None:
                    continue
                score = _score(str(own), weights, clip, most)
                records.append(record(preset=preset, clip=clip.name, network=name, **score))
                print(clip.name, name, score, flush=True)
            if router is not None:
                curve = _curve(_pair(preset, router), clip, most)
                records.append(record(preset=preset, clip=clip.name, network="router", **curve))
                print(clip.name, curve, flush=True)
    print(save("st_mfnet_quality", records, ("preset", "clip", "network")))


def _score(preset: str, weights: Path, clip: Clip, most: int) -> dict[str, float | None]:
    model: Interpolator = build(preset)
    load_weights(model, weights)
    with torch.no_grad():
        score = evaluate(model, clip, True, most)
    found = {"psnr": score.made.psnr, "moving": score.made.moving}
    found |= {"average_psnr": score.average.psnr, "average_moving": score.average.moving}
    return {name: value and round(value, 2) for name, value in found.items()}


def _pair(preset: str, weights: Path) -> Pair:
    pair = build(preset, "tile")
    assert isinstance(pair, Pair)
    load_weights(pair, weights)
    return pair


@torch.no_grad()
def _curve(pair: Pair, clip: Clip, most: int) -> dict[str, object]:
    """PSNR where shares of all patches take the larger network: those that the router guesses, that change most, and that gain most."""
    gains: dict[str, list[NDArray[np.float64]]] = {"router": [], "change": [], "best": []}
    errors, taken = [], []
    for window in windows(clip, True, most):
        frames = torch.stack([picture_of(clip.frames[number]) for number in window.frames])
        wrong, guessed = (
            _patches(each) for each in (measured(pair, frames), pair.difficulty.errors(frames[1], frames[3]))
        )
        change = (frames[1] - frames[3]).square().mean(1, keepdim=True) * 255**2
        gains["best"].append(wrong[0] - wrong[1])
        gains["router"].append(guessed[0] - guessed[1])
        gains["change"].append(_patches(F.avg_pool2d(change, CELL))[0])
        errors.append(wrong)
        taken.append(guessed[0] - guessed[1] > WORTH)
    wrong, own = np.concatenate(errors, 1), np.concatenate(taken)
    curves = {
        name: [_psnr(wrong, _largest(np.concatenate(own), share)) for share in SHARES]
        for name, own in gains.items()
    }
    return {"shares": SHARES, **curves, "own_share": round(float(own.mean()), 3), "own": _psnr(wrong, own)}


def _patches(cells: torch.Tensor) -> NDArray[np.float64]:
    """Means of patches, (ways, patches), of (1, ways, rows, columns)."""
    return F.avg_pool2d(cells, PATCH, PATCH, ceil_mode=True)[0].flatten(1).double().numpy()


def _largest(gains: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """The share of all patches that gains most."""
    chosen = np.zeros(len(gains), bool)
    chosen[np.argsort(-gains)[: round(share * len(gains))]] = True
    return chosen


def _psnr(wrong: NDArray[np.float64], larger: NDArray[np.bool_]) -> float:
    return round(float(10 * np.log10(255**2 / np.where(larger, wrong[1], wrong[0]).mean())), 2)


if __name__ == "__main__":
    typer.run(main)
