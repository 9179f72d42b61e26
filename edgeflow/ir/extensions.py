"""What a person's own package adds to edgeflow, by entry points.

A package names what it brings in its `pyproject.toml`; nothing of edgeflow is edited:

    [project.entry-points."edgeflow.libraries"]
    tract = "edgeflow_tract:LIBRARY"

Source: Python packaging, entry points specification.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from edgeflow.ir.errors import ExtensionError

Kind = TypeVar("Kind")

GROUPS = ("families", "targets", "libraries", "operators", "kernels", "rules")
"""What may be added; the entry points' group is `edgeflow.` and one of these."""


def extensions(group: str, kind: type[Kind]) -> dict[str, Kind]:
    """What installed packages add of one kind, by the names that they give it.

    Args:
        group: one of `GROUPS`.
        kind: what every entry point must be an instance of.

    Raises:
        ExtensionError: a package's entry cannot be loaded, or is something else; names the package.
    """
    return {point.name: _loaded(point, kind) for point in _points(group)}


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"edgeflow.{group}"))


def _loaded(point: EntryPoint, kind: type[Kind]) -> Kind:
    package = point.dist.name if point.dist else "?"
    where = f"the package {package} adds {point.name!r} to {point.group}"
    try:
        found = point.load()
    except Exception as error:
        raise ExtensionError(
            f"{where}, but {point.value} cannot be loaded ({type(error).__name__}: {error}): mend or uninstall it"
        ) from error
    if not isinstance(found, kind):
        raise ExtensionError(
            f"{where}, but {point.value} is a {type(found).__name__}: it must be a {kind.__module__}.{kind.__qualname__}"
        )
    return found
