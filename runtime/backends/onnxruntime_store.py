"""Graphs as ONNX Runtime optimised them on this machine, kept in a bundle so that later sessions start sooner and hold less.

A file GRAPH-DIGEST.onnx (`edgeflow.runtime.backends.compiled_from`) is a graph as the library would have made it of the bundle's, its
weights in the order that this processor's kernels read. Each of those that are not small is a file beside it, whose name is its hash: engines map these
files into memory, so a weight that several engines read is there once, and only once it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.bundle.json_file import make_folder, read_json, write_beside
from edgeflow.ir.bundle.schema import each, text
from edgeflow.ir.bundle.schema import record as schema_of
from edgeflow.ir.errors import BackendError, BundleError
from edgeflow.ir.files import sha256_of, write_atomically
from edgeflow.runtime.backends.compiled_from import CompiledFrom, engine_folder, record_of

SMALL = 4096
"""Bytes of a weight that stays in its graph: less than a page."""
OUTSIDE = "weights".ljust(64, "-")
"""The file that the library is told to write weights to; as long as a hash, so that in its place each weight can have a file of its own."""
_WRITING = Lock()
"""Engines are made several at a time, and may share weights."""
_PLACE = re.compile(
    rb"\x0a\x08location\x12\x40(?P<file>[-0-9a-z]{64})j.\x0a\x06offset\x12.(?P<offset>[0-9]+)j.\x0a\x06length\x12.(?P<length>[0-9]+)",
    re.DOTALL,
)
"""Where a tensor's bytes lie, as ONNX's `TensorProto.external_data` spells it in protobuf."""
_SCHEMA = schema_of({"sha256": text(64, "[0-9a-f]{64}", "a SHA-256"), "graphs": each(text(300), 4096)})


def find_optimised(source: CompiledFrom, build: str) -> Path | None:
    """The graph made from this, if it is kept, whole with all its weights, and was made on this machine (`edgeflow.ir.bundle.built_here`)."""
    folder = engine_folder(source.bundle, "onnxruntime", build)
    if not folder.is_dir():
        return None
    path = folder / f"{source.name}.onnx"
    try:
        record = read_json(record_of(path))
        if next(_SCHEMA(record, ""), None):
            return None
        graph = path.read_bytes()
        digest = sha256(graph).hexdigest()
        if digest != record["sha256"] or not was_built_here(digest):
            return None
        whole = all(is_whole(folder / name) for name in weight_files(graph))
    except (OSError, BundleError):
        return None  # it is optimised anew
    return path if whole else None


def keep_optimised(source: CompiledFrom, build: str, optimise: Callable[[Path, str], None]) -> Path:
    """Put a graph into the bundle as the library optimises it; an interrupted write leaves the old one, or none.

    Args:
        source: what it is made from.
        build: of the library.
        optimise: told where to write the graph, and to which file beside it the weights of `SMALL` bytes or more.

    Raises:
        BackendError: the library spells places of weights in another way than is known here.
        BundleError: the bundle cannot be written to.
    """
    path = engine_folder(source.bundle, "onnxruntime", build) / f"{source.name}.onnx"
    make_folder(path.parent)
    with TemporaryDirectory(prefix="edgeflow-") as temporary:
        made = Path(temporary) / path.name
        optimise(made, OUTSIDE)
        outside = made.with_name(OUTSIDE)
        weights = outside.read_bytes() if outside.exists() else b""
        with _WRITING:
            graph = _shared(made.read_bytes(), weights, path.parent)
    digest = sha256(graph).hexdigest()
    record_built(digest)
    write_atomically(path, graph)
    write_beside(record_of(path), {"sha256": digest, "graphs": [each.path.name for each in source.graphs]})
    return path


def weight_files(graph: bytes) -> Iterator[str]:
    """Names of the files that a kept graph reads its weights from."""
    for place in _PLACE.finditer(graph):
        yield place["file"].decode()


def is_weight_file(path: Path) -> bool:
    """Whether a file has a weight's name."""
    return re.fullmatch("[0-9a-f]{64}", path.name) is not None


def _shared(graph: bytes, weights: bytes, folder: Path) -> bytes:
    """The graph with every weight in a file of its own, which is written if it is not there."""
    if len(list(_PLACE.finditer(graph))) != graph.count(OUTSIDE.encode()):
        raise BackendError(
            "this release of ONNX Runtime writes optimised graphs in another way than edgeflow knows: run the bundle without a build"
        )

    def moved(place: re.Match[bytes]) -> bytes:
        offset, length = int(place["offset"]), int(place["length"])
        data = weights[offset : offset + length]
        name = sha256(data).hexdigest()
        if not is_whole(folder / name):
            write_atomically(folder / name, data)
        spelled = place[0].replace(place["file"], name.encode())
        start, end = (edge - place.start() for edge in place.span("offset"))
        return spelled[:start] + b"0" * (end - start) + spelled[end:]

    return _PLACE.sub(moved, graph)


def is_whole(path: Path) -> bool:
    """Whether a file of weights is there, and its name is its hash."""
    if not path.is_file():
        return False
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size) == path.name


@cache
def _hash(path: Path, changed: int, size: int) -> str:
    """A file's hash, found once a process while it stays as it is."""
    return sha256_of(path)
