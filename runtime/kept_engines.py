"""What a bundle keeps that was built on devices, and why a session here would not take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle import WEIGHTS, Bundle
from edgeflow.ir.bundle.built_here import was_built_here
from edgeflow.ir.bundle.json_file import read_json
from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import sha256_of

SUFFIXES = (".engine", ".blob")
"""Suffixes of TensorRT's engines, and of OpenVINO's compiled models."""


@dataclass(frozen=True)
class KeptEngine:
    """An engine that was built on a device.

    Attributes:
        device: folder that says for which device and versions it holds.
        path: of the file.
        bytes: of the file and of its record.
        stale: why a session here does not take it; empty where nothing is known against it.
    """

    device: str
    path: Path
    bytes: int
    stale: str

    def remove(self) -> None:
        """Delete the engine and its record."""
        for path in (self.path, _record_of(self.path)):
            path.unlink(missing_ok=True)


def kept_engines(bundle: Bundle) -> tuple[KeptEngine, ...]:
    """The engines in a bundle, by device and name."""
    found = sorted(path for path in (bundle.path / "engines").glob("*/*") if path.suffix in SUFFIXES)
    return tuple(
        KeptEngine(path.parent.name, path, _bytes(path) + _bytes(_record_of(path)), _stale(bundle, path))
        for path in found
    )


def _stale(bundle: Bundle, path: Path) -> str:
    try:
        record = read_json(_record_of(path))
        digest = str(record["sha256"])
    except (OSError, BundleError, KeyError, TypeError):
        return "it has no record of what it was built from"
    if sha256_of(path) != digest:
        return "it is not the file that was built"
    if not was_built_here(digest):
        return "this machine's `edgeflow build` did not make it"
    if not _from_these_graphs(bundle, path, record):
        return "the bundle's graphs or weights are not those that it was built from"
    return _other_device(bundle, path)


def _from_these_graphs(bundle: Bundle, path: Path, record: Any) -> bool:
    files, graphs = bundle.manifest.files, bundle.manifest.graphs.values()
    if path.suffix == ".engine":
        names = {name for entry in graphs for name in (entry.file, entry.other) if name}
        sources = [[files[name].sha256, files[WEIGHTS].sha256] for name in names if name in files]
        return record.get("source") in sources
    return {f"graphs/{name}" for name in record.get("graphs", ())} <= set(files)


def _other_device(bundle: Bundle, path: Path) -> str:
    """Why a model that OpenVINO compiled is none of this processor and release."""
    if path.suffix != ".blob":
        return ""
    try:
        from edgeflow.runtime.backends.openvino_backend import OpenVinoBackend
        from edgeflow.runtime.backends.openvino_store import engine_folder
    except ImportError:
        return "OpenVINO is not installed here"
    here = engine_folder(bundle.path, OpenVinoBackend.build).name
    return (
        "" if path.parent.name == here else f"it is for another processor or release of OpenVINO than {here}"
    )


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
