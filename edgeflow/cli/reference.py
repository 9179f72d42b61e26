"""Finds the model that a command names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgeflow.ir.errors import EdgeflowError, FlowError

if TYPE_CHECKING:
    from edgeflow.flow.module import RoutedModule


def find_model(reference: str, preset: str | None, variant: str | None) -> RoutedModule:
    """Build a model from the name of a family, `path/to/file.py:build` or `package.module:build`.

    Raises:
        FlowError: it cannot be found, or is no routed module.
    """
    from edgeflow.flow.module import RoutedModule
    from edgeflow.models import family

    if ":" not in reference and not reference.endswith(".py"):
        return family(reference).model(preset, variant)
    model: Any = build_by(reference)
    if not isinstance(model, RoutedModule):
        raise FlowError(
            f"{reference} returns a {type(model).__name__}: it must return an edgeflow.flow.RoutedModule"
        )
    return model


def build_by(reference: str) -> Any:
    """What a function of the user's returns.

    Raises:
        FlowError: it cannot be found, or fails; says where.
    """
    function = find_function(reference)
    try:
        return function()
    except EdgeflowError:
        raise
    except Exception as error:  # the user's own code: anything may come
        where = traceback.extract_tb(error.__traceback__)[1:2]
        place = f"{where[0].filename}, line {where[0].lineno}" if where else reference
        raise FlowError(f"{reference} fails ({place}): {type(error).__name__}: {error}") from error


def find_function(reference: str) -> Callable[..., Any]:
    """The function that `path/to/file.py:name` or `package.module:name` names.

    Raises:
        FlowError: it cannot be found.
    """
    if reference.endswith(".py"):
        raise FlowError(f"{reference} names no function of the file: give {reference}:build")
    if ":" not in reference:
        raise FlowError(f"{reference} is no function: give path/to/file.py:build")
    place, _, name = reference.rpartition(":")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, name, None)
    if not callable(found):
        raise FlowError(f"{place} has no function {name!r}: give one that it has")
    function: Callable[..., Any] = found
    return function


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FlowError(f"no file {path}: give path/to/file.py:build")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    beside = str(path.absolute().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)  # as `python FILE` does: it may import the files beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise FlowError(
            f"{path} cannot be imported{_line(error, path)}: {type(error).__name__}: {error}"
        ) from error
    return module


def _line(error: Exception, path: Path) -> str:
    """The line of a file where an error arose; nothing if the error says it, or none is of this file."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path.absolute())
    ]
    return f" (line {lines[-1]})" if lines else ""


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise FlowError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
