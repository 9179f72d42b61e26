"""Models that OpenVINO compiled on this machine, kept in a bundle so that later sessions start sooner.

    engines/KEY/GRAPH-DIGEST.blob        what the CPU plugin made of one graph, or of several that were joined
    engines/KEY/GRAPH-DIGEST.blob.json   its hash, and what the plugin does not tell

KEY names the processor, its instruction sets and the library's build, DIGEST what else a compiled model holds for: the very graphs and
weights, shapes, outputs, precision and our own version; threads are up to each session. Weights are not in it: it reads them from the
bundle's own file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import edgeflow
from edgeflow.ir.bundle import MANIFEST, WEIGHTS
from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.bundle.json_file import make_folder, read_json, write_beside
from edgeflow.ir.bundle.schema import each, text, whole
from edgeflow.ir.bundle.schema import record as record_of
from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import write_atomically
from edgeflow.runtime.backends.base import GraphFile
from edgeflow.runtime.machine import cpu_name, in_words, instruction_sets


@dataclass(frozen=True)
class CompiledFrom:
    """What a model is compiled from.

    Attributes:
        graphs: of one bundle; joined if several.
        dims: values of the frame's free dimensions.
        precision: asked for.
        batch: rows of every run; any number if None.
    """

    graphs: tuple[GraphFile, ...]
    dims: Mapping[str, int]
    precision: str
    batch: int | None


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


def engine_folder(bundle: Path, build: str) -> Path:
    """Where the models compiled for this processor by this build of the library lie."""
    what = f"{cpu_name()} {in_words(instruction_sets())} openvino {build}"
    key = re.sub(r"[^a-z0-9.]+", "-", what.lower()).strip("-")
    return bundle / "engines" / key


_SCHEMA = record_of(
    {
        "sha256": text(64, "[0-9a-f]{64}", "a SHA-256"),
        "precision": text(100),
        "places": each(each(whole(0, 1 << 20), 4096), 4096),
        "graphs": each(text(300), 4096),
    }
)


def find_compiled(source: CompiledFrom, build: str) -> Kept | None:
    """The model compiled from this, if it is kept, whole, and was compiled on this machine (`edgeflow.ir.bundle.built_here`)."""
    folder = engine_folder(_bundle(source), build)
    if not folder.is_dir():
        return None
    path = folder / f"{_name(source)}.blob"
    try:
        record = read_json(_record_of(path))
        if next(_SCHEMA(record, ""), None):
            return None
        blob = path.read_bytes()
    except (OSError, BundleError):
        return None  # it is compiled anew
    digest = sha256(blob).hexdigest()
    if digest != record["sha256"] or not was_built_here(digest):
        return None
    return Kept(blob, _bundle(source) / WEIGHTS, record["precision"], tuple(map(tuple, record["places"])))


def keep_compiled(
    source: CompiledFrom, build: str, blob: bytes, precision: str, places: tuple[tuple[int, ...], ...]
) -> Kept:
    """Write a compiled model into the bundle; an interrupted write leaves the old one, or none.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    path = engine_folder(_bundle(source), build) / f"{_name(source)}.blob"
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
    write_beside(_record_of(path), record)
    return Kept(blob, _bundle(source) / WEIGHTS, precision, places)


def _name(source: CompiledFrom) -> str:
    files = read_json(_bundle(source) / MANIFEST)["files"]
    described = {
        "graphs": [
            {
                "sha256": files[graph.path.relative_to(_bundle(source)).as_posix()]["sha256"],
                "ports": [[asdict(port) for port in ports] for ports in (graph.inputs, graph.outputs)],
            }
            for graph in source.graphs
        ],
        "weights": files[WEIGHTS]["sha256"],
        "edgeflow": edgeflow.__version__,  # which reads and joins the graphs
        "dims": _used(source.graphs, source.dims),
        "precision": source.precision,
        "batch": source.batch,
    }
    digest = sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return f"{source.graphs[0].path.stem}-{digest[:12]}"


def _used(graphs: Sequence[GraphFile], dims: Mapping[str, int]) -> dict[str, int]:
    """The free dimensions that the graphs' inputs have."""
    named = {d for graph in graphs for port in graph.inputs for d in port.shape if isinstance(d, str)}
    return {d: size for d, size in dims.items() if d in named}


def _bundle(source: CompiledFrom) -> Path:
    return source.graphs[0].path.parent.parent


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")
