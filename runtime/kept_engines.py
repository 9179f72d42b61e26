"""What a bundle keeps that was built on devices, and why a session here would not take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edgeflow.ir.bundle import WEIGHTS, Bundle
from edgeflow.ir.bundle.built_here import was_built_here
from edgeflow.ir.bundle.json_file import read_json
from edgeflow.ir.errors import BackendError, BundleError
from edgeflow.ir.files import sha256_of
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.backends.base import KeepingBackend
from edgeflow.runtime.backends.compiled_from import SUFFIXES, engine_folder, record_of
from edgeflow.runtime.backends.onnxruntime_store import is_weight_file, is_whole, weight_files

_MADE = {".engine": "tensorrt", **{suffix: library for library, suffix in SUFFIXES.items()}}
"""Libraries, by the suffix of what is kept for them."""


@dataclass(frozen=True)
class KeptEngine:
    """An engine that was built on a device.

    Attributes:
        device: folder that says for which device and versions it holds.
        path: of the file.
        bytes: of the file, its record, and weights beside it that no engine before it reads.
        stale: why a session here does not take it; empty where nothing is known against it.
    """

    device: str
    path: Path
    bytes: int
    stale: str

    def remove(self) -> None:
        """Delete the engine, its record, and weights beside it that no other engine reads."""
        weights = _weights(self.path)
        for path in (self.path, record_of(self.path)):
            path.unlink(missing_ok=True)
        for other in self.path.parent.glob("*.onnx"):
            weights -= _weights(other)
        for path in weights:
            path.unlink(missing_ok=True)


def kept_engines(bundle: Bundle) -> tuple[KeptEngine, ...]:
    """The engines in a bundle, by device and name."""
    kept, counted = [], set[Path]()
    for path in sorted(path for path in (bundle.path / "engines").glob("*/*") if path.suffix in _MADE):
        files = {path, record_of(path), *_weights(path)} - counted
        counted |= files
        kept.append(KeptEngine(path.parent.name, path, sum(map(_bytes, files)), _stale(bundle, path)))
    return tuple(kept)


def loose_weights(bundle: Bundle) -> tuple[Path, ...]:
    """Files of weights beside engines that no engine reads, as builds that were stopped leave them."""
    beside = (path for path in sorted((bundle.path / "engines").glob("*/*")) if is_weight_file(path))
    read = {path for engine in (bundle.path / "engines").glob("*/*.onnx") for path in _weights(engine)}
    return tuple(path for path in beside if path not in read)


def _weights(path: Path) -> set[Path]:
    """Files beside an engine that hold its weights."""
    if path.suffix != ".onnx":
        return set()
    return {path.with_name(name) for name in weight_files(path.read_bytes())}


def _stale(bundle: Bundle, path: Path) -> str:
    try:
        record = read_json(record_of(path))
        digest = str(record["sha256"])
    except (OSError, BundleError, KeyError, TypeError):
        return "it has no record of what it was built from"
    if sha256_of(path) != digest:
        return "it is not the file that was built"
    if not was_built_here(digest):
        return "this machine's `edgeflow build` did not make it"
    if not all(map(is_whole, _weights(path))):
        return "a file of its weights is missing or another"
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
    """Why a model is none of this processor and release of its library."""
    library = _MADE[path.suffix]
    if library not in SUFFIXES:
        return ""
    try:
        build = cast(KeepingBackend, open_backend(library, 1)).build
    except BackendError:
        return f"{library} is not installed here"
    here = engine_folder(bundle.path, library, build).name
    return (
        "" if path.parent.name == here else f"it is for another processor or release of {library} than {here}"
    )


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
