"""`edgeflow train NAME`: made of the family's recipe."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from inspect import Parameter, Signature, cleandoc
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from typer.main import get_command

from edgeflow import __version__
from edgeflow.cli.plain_help import PlainCommand
from edgeflow.cli.train_progress import train_and_keep
from edgeflow.ir.errors import TrainError
from edgeflow.models.family import Family, Option, Recipe, called
from edgeflow.models.weights import read_weights, write_weights
from edgeflow.training.data import Dataset, load_clips
from edgeflow.training.device import use_device
from edgeflow.training.loop import Length, Run
from edgeflow.training.order import Order, Trainee

WEIGHTS = "weights.safetensors"
"""What a training ends with, in the folder of its run."""

RUN_HELP = (
    "Folder for checkpoint, log, decoded frames and the trained weights. A run that was stopped "
    "goes on from its checkpoint here."
)


def command_of(family: Family) -> Any:
    """The training command of a family, with the options of its recipe.

    Args:
        family: one that has a recipe.
    """
    recipe = family.recipe
    assert recipe is not None

    def train(**given: Any) -> None:
        _train(family, recipe, given)

    parameters = _parameters(family, recipe)
    # The command line is read off a function's signature, and this one's is the recipe's.
    train.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    single = typer.Typer(add_completion=False)
    single.command(family.name, cls=PlainCommand, help=cleandoc(recipe.help))(train)
    return get_command(single)


def _parameters(family: Family, recipe: Recipe) -> list[Parameter]:
    """The options that every family has, with its own between them."""
    presets = Enum("presets", {name: name for name in family.presets}, type=str)  # type: ignore[misc]
    variants = Enum("variants", {name: name for name in family.variants}, type=str)  # type: ignore[misc]
    length = typer.Option(min=0.01, help="Length of the training; 60 if --steps is not given either.")
    steps = typer.Option(min=1, help="Length in steps, instead of --minutes.")
    hold_out = typer.Option(help="File name of a clip that training must not see. Repeatable.")
    return [
        _option("data", Path, typer.Option(help="Folder of video files. Clips that move teach most.")),
        _option("run", Path, typer.Option(help=RUN_HELP)),
        _option("preset", presets, typer.Option(help=recipe.presets_help), presets(family.preset)),
        _option(
            recipe.variant_option, variants, typer.Option(help=recipe.variants_help), variants(family.variant)
        ),
        _option("minutes", float | None, length, None),
        _option("steps", int | None, steps, None),
        _option("hold_out", list[str] | None, hold_out, None),
        *map(_own_option, recipe.options),
        _option(
            "threads", int | None, typer.Option(min=1, help="CPU threads; all cores if not given."), None
        ),
        _option(
            "device",
            str,
            typer.Option(help="Where to train, as torch names it: cpu, cuda, cuda:1, mps."),
            "cpu",
        ),
        _option("seed", int, typer.Option(help="Random seed."), 0),
        _option("as_json", bool, typer.Option("--json", help="Print the result as JSON on stdout."), False),
    ]


def _option(name: str, kind: Any, option: Any, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _own_option(own: Option) -> Parameter:
    return _option(own.name, own.kind | None, typer.Option(min=own.least, help=own.help), None)


def _train(family: Family, recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Train, and keep the weights beside the run's checkpoint.

    Raises:
        TrainError: two lengths are given, or the clips or the checkpoint cannot be used.
    """
    if given["minutes"] is not None and given["steps"] is not None:
        raise TrainError("a training has one length: give --minutes or --steps, not both")
    _check_weights(given["run"] / WEIGHTS)
    use_device(given["device"])
    length = Length(given["steps"], None if given["steps"] else given["minutes"] or 60.0)
    if given["threads"]:
        torch.set_num_threads(given["threads"])
    torch.manual_seed(given["seed"])
    rng = np.random.default_rng(given["seed"])
    notes, folder = Console(stderr=True), given["run"]
    chosen = {"preset": given["preset"].value, "variant": given[recipe.variant_option].value}
    own = {option.name: given[option.name] for option in recipe.options if given[option.name] is not None}

    def clips(size: tuple[int, int] | None) -> Dataset:
        return _decoded(given["data"], folder / "cache", given["hold_out"] or [], size, notes)

    trainee: Trainee = called(recipe.begin)(Order(**chosen, clips=clips, rng=rng, options=own))
    identity = {**chosen, **trainee.identity}
    job = Run(trainee.learner, trainee.stages, length, folder, rng, identity)

    def keep(steps: int) -> Path:
        path: Path = folder / WEIGHTS
        facts = {"family": family.name, **identity, "steps": str(steps), "version": __version__}
        write_weights(trainee.model, path, facts)
        return path

    train_and_keep(job, folder, keep, notes, given["as_json"])


def _check_weights(path: Path) -> None:
    """Refuse a run folder whose weights are somebody else's: they would be overwritten at the end.

    Raises:
        TrainError: they are.
    """
    if path.exists() and "family" not in read_weights(path)[1]:
        raise TrainError(f"{path} is not edgeflow's and would be overwritten: give another --run")


def _decoded(
    data: Path, cache: Path, hold_out: list[str], size: tuple[int, int] | None, notes: Console
) -> Dataset:
    """The clips to train on; says which were left out."""
    with notes.status("decoding clips"):
        clips = load_clips(data, cache, hold_out, size)
    for line in clips.skipped:
        notes.print(line, soft_wrap=True)
    return clips
