"""The model families, one folder each. They use the same public flow API as a user's model."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from edgeflow.flow.module import RoutedModule
from edgeflow.ir.errors import FlowError

SEEDS = {"cain-sd": "edgeflow.models.cain_sd", "shortcut-v2v": "edgeflow.models.shortcut_v2v"}
"""Model families that edgeflow ships: name on the command line -> package with `build`."""


def build_seed(name: str, preset: str | None, variant: str | None) -> RoutedModule:
    """An untrained model of one of the families; its own preset and variant where none is given.

    Raises:
        FlowError: no such family, preset or variant.
    """
    if name not in SEEDS:
        raise FlowError(f"no model {name!r}: edgeflow has {', '.join(SEEDS)}; or give path/to/file.py:build")
    build: Callable[..., Any] = import_module(SEEDS[name]).build
    model: RoutedModule = build(**seed_options(name, preset, variant))
    return model


def seed_options(name: str, preset: str | None, variant: str | None) -> dict[str, str]:
    """A family's own preset and variant, or those given."""
    parameters = signature(import_module(SEEDS[name]).build).parameters
    return {
        "preset": preset or parameters["preset"].default,
        "variant": variant or parameters["variant"].default,
    }


def pretrained_seed(name: str, preset: str | None, variant: str | None) -> Path | None:
    """The weights that edgeflow ships for a model, if any."""
    pretrained = import_module(f"{SEEDS[name]}.weights").pretrained
    found: Path | None = pretrained(**seed_options(name, preset, variant))
    return found
