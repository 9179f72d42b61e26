"""What the compiler knows of each operator, one file each, found by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from edgeflow.export.operators.descriptor import Operator
from edgeflow.ir.extensions import extensions


@cache
def operators() -> tuple[Operator, ...]:
    """Every operator: those of the files here, and those of installed packages.

    Raises:
        ExtensionError: a package's operator cannot be loaded.
    """
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    ours = [module.OPERATOR for module in modules if hasattr(module, "OPERATOR")]
    return (*ours, *extensions("operators", Operator).values())
