"""What a model family is: how its models are built, trained and judged. One contract for edgeflow's own and for others'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import torch

from edgeflow.flow.module import RoutedModule
from edgeflow.ir.errors import FlowError

Hook: TypeAlias = str
"""A function as `package.module:function`: imported when it is called, since training needs more than exporting."""


@dataclass(frozen=True)
class Option:
    """One option of a family's training command, beside those that every family has.

    Attributes:
        name: as training is given it; `lambda_scale` is `--lambda-scale` on the command line.
        kind: of its value: float, int, str or Path.
        help: in a sentence.
        least: its smallest value, if it is a number and has one.
    """

    name: str
    kind: type[Any]
    help: str
    least: float | None = None


@dataclass(frozen=True)
class Recipe:
    """How a family is trained by `edgeflow train NAME`.

    Attributes:
        begin: takes an `edgeflow.training.order.Order` and returns what is trained, a `Trainee`.
        help: of the command.
        presets_help: of `--preset`.
        variants_help: of the variants' option.
        variant_option: the word for variants, if it is another.
        options: of this family alone.
    """

    begin: Hook
    help: str
    presets_help: str = "Size of the model."
    variants_help: str = "Variant of the model."
    variant_option: str = "variant"
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        name: on the command line.
        about: what its models do, in a few words.
        presets: sizes of its models.
        variants: of each size.
        preset: its own choice, where none is given.
        variant: its own choice, where none is given.
        build: an untrained model in eval mode, of a preset and a variant.
        pretrained: the weight file that comes with it for a preset and a variant, if there is one.
        full_static: the model that savings are measured against: a routed model's network without routing.
        recipe: how it is trained; None if edgeflow cannot.
        evaluate: takes (model, clip, whole, most) and returns a dataclass of scores: a trained model, an
            `edgeflow.training.data.Clip`, whether all of it is new to the model, and most pictures to score.
    """

    name: str
    about: str
    presets: tuple[str, ...]
    variants: tuple[str, ...]
    preset: str
    variant: str
    build: Callable[[str, str], RoutedModule]
    pretrained: Callable[[str, str], Path | None] = lambda preset, variant: None
    full_static: Callable[[Any], RoutedModule] | None = None
    recipe: Recipe | None = None
    evaluate: Hook | None = None

    def options(self, preset: str | None = None, variant: str | None = None) -> dict[str, str]:
        """The preset and the variant, its own choice where none is given.

        Raises:
            FlowError: it has no such preset or variant.
        """
        chosen = {"preset": preset or self.preset, "variant": variant or self.variant}
        for kind, known in (("preset", self.presets), ("variant", self.variants)):
            if chosen[kind] not in known:
                raise FlowError(f"{self.name} has the {kind}s {', '.join(known)}, got {chosen[kind]!r}")
        return chosen

    def model(self, preset: str | None = None, variant: str | None = None) -> RoutedModule:
        """An untrained model in eval mode; its random weights are the same each time.

        Raises:
            FlowError: it has no such preset or variant.
        """
        chosen = self.options(preset, variant)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.build(chosen["preset"], chosen["variant"])

    def weights(self, preset: str | None = None, variant: str | None = None) -> Path | None:
        """The weights that come with it for a model, if any."""
        chosen = self.options(preset, variant)
        return self.pretrained(chosen["preset"], chosen["variant"])


def called(hook: Hook) -> Callable[..., Any]:
    """The function that a hook names.

    Raises:
        FlowError: there is none.
    """
    module, _, name = hook.partition(":")
    function = getattr(import_module(module), name, None)
    if not callable(function):
        raise FlowError(f"no function {name!r} in {module}: mend the family that names {hook!r}")
    found: Callable[..., Any] = function
    return found


def by_name(families: Mapping[str, Family], name: str) -> Family:
    """One of several families.

    Raises:
        FlowError: there is none of that name.
    """
    if name not in families:
        raise FlowError(
            f"no model {name!r}: edgeflow has {', '.join(families)}; or give path/to/file.py:build"
        )
    return families[name]
