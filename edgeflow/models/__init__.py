"""The model families, one folder each, and those of installed packages. They use the same flow API as a user's model."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from edgeflow.ir.extensions import extensions
from edgeflow.models.family import Family, by_name


@cache
def families() -> dict[str, Family]:
    """Every family by its name: those in the folders beside this file, then those that packages add.

    A folder's family is `FAMILY` in its `family.py`. A package names its own in the entry points' group `edgeflow.families`.

    Raises:
        ExtensionError: a package's family cannot be loaded.
    """
    own = [
        import_module(f"{__name__}.{module.name}.family").FAMILY
        for module in iter_modules(__path__)
        if module.ispkg
    ]
    return {family.name: family for family in (*own, *extensions("families", Family).values())}


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        FlowError: there is none.
    """
    return by_name(families(), name)
