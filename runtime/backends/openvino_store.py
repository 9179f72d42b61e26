"""Models that OpenVINO compiled on this machine, kept in a bundle so that later sessions start sooner.

A file GRAPH-DIGEST.blob (`edgeflow.runtime.backends.compiled_from`) holds what the CPU plugin made, but no weights: it reads them from
the bundle's own file.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edgeflow.ir.bundle import WEIGHTS
from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.bundle.json_file import make_folder, read_json, write_beside
from edgeflow.ir.bundle.schema import each, text, whole
from edgeflow.ir.bundle.schema import record as schema_of
from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import write_atomically
from edgeflow.runtime.backends.compiled_from import CompiledFrom, engine_folder, record_of


@dataclass(frozen=True)
class Kept:
    """A compiled model.

    Attributes:
        blob: what the plugin wrote.
        weights: the file that it reads its weights from.
        precision: that it was compiled for.
        places: of joined graphs, which of the inputs are each one's own.
    """

    blob: bytes
    weights: Path
    precision: str
    places: tuple[tuple[int, ...], ...]


_SCHEMA = schema_of(
    {
        "sha256": text(64, "[0-9a-f]{64}", "a SHA-256"),
        "precision": text(100),
        "places": each(each(whole(0, 1 << 20), 4096), 4096),
        "graphs": each(text(300), 4096),
    }
)


def find_compiled(source: CompiledFrom, build: str) -> Kept | None:
    """The model compiled from this, if it is kept, whole, and was compiled on this machine (`edgeflow.ir.bundle.built_here`)."""
    folder = engine_folder(source.bundle, "openvino", build)
    if not folder.is_dir():
        return None
    path = folder / f"{source.name}.blob"
    try:
        record = read_json(record_of(path))
        if next(_SCHEMA(record, ""), None):
            return None
        blob = path.read_bytes()
    except (OSError, BundleError):
        return None  # it is compiled anew
    digest = sha256(blob).hexdigest()
    if digest != record["sha256"] or not was_built_here(digest):
        return None
    return Kept(blob, source.bundle / WEIGHTS, record["precision"], tuple(map(tuple, record["places"])))


def keep_compiled(
    source: CompiledFrom, build: str, blob: bytes, precision: str, places: tuple[tuple[int, ...], ...]
) -> Kept:
    """Write a compiled model into the bundle; an interrupted write leaves the old one, or none.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    path = engine_folder(source.bundle, "openvino", build) / f"{source.name}.blob"
    make_folder(path.parent)
    digest = sha256(blob).hexdigest()
    record_built(digest)
    write_atomically(path, blob)
    record = {
        "sha256": digest,
        "precision": precision,
        "places": places,
        "graphs": [graph.path.name for graph in source.graphs],
    }
    write_beside(record_of(path), record)
    return Kept(blob, source.bundle / WEIGHTS, precision, places)
