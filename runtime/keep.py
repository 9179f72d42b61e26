"""Compiles a bundle's models on this machine and keeps them in it, so that later sessions start sooner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import InputError
from edgeflow.ir.plan import Plan
from edgeflow.runtime.backends.base import KeepingBackend
from edgeflow.runtime.backends.compiled_from import SUFFIXES
from edgeflow.runtime.session import Session, declared_size


@dataclass(frozen=True)
class KeptModel:
    """A compiled model in a bundle: its file's name, and whether it was there already."""

    name: str
    found: bool


def keep_models(
    bundle: Bundle,
    folder: Path,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[KeptModel, ...]:
    """Compile what sessions of this machine would, on all its threads, but for what is kept already.

    Args:
        bundle: open; exported for a library whose `builds` are models.
        folder: where the library keeps them.
        size: (height, width) of the frames to come, if the bundle does not say.
        progress: told how many engines are loaded, of how many.

    Raises:
        InputError: no size is known.
        BackendError: the library is missing or refuses a graph.
        BundleError: the bundle cannot be written to.
    """
    before = _written(folder)
    for height, width in _sizes(bundle.manifest.plans, size):
        session = Session(bundle)
        cast(KeepingBackend, session.backend).keeps = True
        session.prepare(height, width, progress)
    return tuple(KeptModel(name, when == before.get(name)) for name, when in _written(folder).items())


def _written(folder: Path) -> dict[str, int]:
    """When each model was written, in nanoseconds, by its file's name."""
    files = (path for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES.values())
    return {path.name: path.stat().st_mtime_ns for path in files}


def _sizes(plans: Mapping[str, Plan], size: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Sizes of the frames: those that plans are for, or the one given."""
    fixed = [declared for plan in plans.values() if (declared := declared_size(plan.inputs))]
    images = any(spec.image for plan in plans.values() for spec in plan.inputs)
    if images and not fixed and size is None:
        raise InputError(
            "this bundle is for frames of any size, compiled models are for one: give --size WIDTHxHEIGHT"
        )
    return fixed or [size or (0, 0)]
