"""The model families, one folder each. They use the same public flow API as a user's model."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from edgeflow.flow.module import RoutedModule
from edgeflow.ir.errors import FlowError

SEEDS = {"cain-sd": "edgeflow.models.cain_sd"}
"""Model families that edgeflow ships: name on the command line -> package with `build`."""


def build_seed(name: str, preset: str, variant: str) -> RoutedModule:
    """An untrained model of one of the families.

    Raises:
        FlowError: no such family, preset or variant.
    """
    if name not in SEEDS:
        raise FlowError(f"no model {name!r}: edgeflow has {', '.join(SEEDS)}; or give path/to/file.py:build")
    build: Callable[..., Any] = import_module(SEEDS[name]).build
    model: RoutedModule = build(preset, variant)
    return model


def pretrained_seed(name: str, preset: str, variant: str) -> Path | None:
    """The weights that edgeflow ships for a model, if any."""
    found: Path | None = import_module(f"{SEEDS[name]}.weights").pretrained(preset, variant)
    return found
