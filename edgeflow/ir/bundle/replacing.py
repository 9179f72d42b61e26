"""Which folders a new bundle may take the place of: none that holds what edgeflow did not make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle import FORMAT, MANIFEST
from edgeflow.ir.bundle.tuned import FOLDER as TUNED
from edgeflow.ir.errors import BundleError

ADDED = ("engines", "profile")
"""Folders that commands add to a bundle after its export."""


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Refuse to replace a folder whose contents somebody would miss.

    An empty folder may go, and so may a bundle as it was exported. Engines that were built and costs that were
    measured since go only if that is wanted; files that are not edgeflow's never do.

    Args:
        folder: where a bundle is to be written; it need not exist.
        overwrite: whether built engines and measured costs may go.

    Raises:
        BundleError: the folder may not be replaced; says what is in it.
    """
    if folder.resolve() == Path.cwd():
        raise BundleError(
            f"cannot write the bundle {folder}: it is the folder that you are in; give the bundle a name in it, such as model.edgeflow"
        )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise BundleError(f"cannot write the bundle {folder}: a file of that name is in the way; remove it")
    manifest = _manifest(folder)
    if manifest is None:
        raise BundleError(
            f"{folder} holds files and is no edgeflow bundle: it is left alone; choose another name"
        )
    if foreign := _foreign(folder, manifest):
        raise BundleError(
            f"{folder} is a bundle, but {foreign} in it is not edgeflow's and would be deleted: move it away first"
        )
    if not overwrite and (made := _made_since(folder)):
        raise BundleError(
            f"{folder} holds {made}, which would be lost: choose another name, or replace it with --overwrite"
        )


def _manifest(folder: Path) -> dict[str, Any] | None:
    """What a bundle's manifest says; None if the folder has none that is edgeflow's."""
    try:
        data = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("format") == FORMAT else None


def _foreign(folder: Path, manifest: dict[str, Any]) -> str | None:
    """A file that neither the export nor a command after it made, by its path in the bundle."""
    named = {MANIFEST, *manifest.get("files", ())}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_dir() and name.as_posix() not in named and name.parts[0] not in ADDED:
            return name.as_posix()
    return None


def _made_since(folder: Path) -> str | None:
    """What was added since the export, in words."""
    if any(path.is_file() for path in (folder / "engines").rglob("*")):
        return "engines that were built"
    if any(_measured(path) for path in (folder / "profile").glob("*.json")):
        return "costs that were measured"
    if any((folder / TUNED).glob("*.json")):
        return "settings that were tuned"
    return None


def _measured(costs: Path) -> bool:
    """Whether a file of costs was written by another command than the export, which writes them anew."""
    try:
        return bool(json.loads(costs.read_text()).get("by") != "export")
    except (OSError, ValueError, AttributeError):
        return True
