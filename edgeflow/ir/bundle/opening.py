"""The bundle on disk: a folder with a manifest that names and hashes every file.

    manifest.json      plans, graphs, target, versions, and every file's size and SHA-256
    graphs/*.onnx      one per stage variant; static but for the batch and free dimensions
    graphs/weights.bin shared by all graphs, by content hash
    golden/*.npz       inputs and expected outputs of each graph, and one clip
    profile/*.json     latencies measured on a device
    probes/            operators that TensorRT is known to get wrong, to be tried on the device
    engines/KEY/       engines that `edgeflow build` made on a device
    plugins/           sources of the TensorRT plugins, where a graph has plugin nodes

What each schema version brought stands in docs/bundle.md. A reader takes its own minor version and older ones of the same major
version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeflow.ir.bundle.graph_files import WEIGHTS as WEIGHTS
from edgeflow.ir.bundle.graph_files import check_graph_files
from edgeflow.ir.bundle.json_file import check_regular, read_json
from edgeflow.ir.bundle.manifest import MANIFEST, Constant, FileEntry, Manifest, manifest_from_json
from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import sha256_of
from edgeflow.ir.plan import StageGraph


@dataclass(frozen=True)
class Bundle:
    """A bundle that was opened and found whole."""

    path: Path
    manifest: Manifest


def open_bundle(path: str | Path, *, verify: bool = True) -> Bundle:
    """Read a bundle's manifest and check its files.

    Args:
        path: the bundle's folder.
        verify: compare every file's SHA-256, not only its size.

    Raises:
        BundleError: not a bundle, a newer schema, or a file missing, truncated or altered.
    """
    folder = Path(path)
    if not folder.exists():
        raise BundleError(f"no bundle at {folder}: make one with `edgeflow export ... -o {folder}`")
    if folder.is_file():
        raise BundleError(
            f"{folder} is a file, and a bundle is a folder that `edgeflow export` writes: check the path"
        )
    try:
        data = read_json(folder / MANIFEST)
    except OSError as error:
        raise BundleError(
            f"{folder} is not a bundle: it has no readable {MANIFEST}; export it again"
        ) from error
    manifest = manifest_from_json(data, str(folder))
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry, verify)
    _check_graphs(folder, manifest)
    return Bundle(folder, manifest)


def _check_graphs(folder: Path, manifest: Manifest) -> None:
    """Compare the graph files with the plans; each file may be in several."""
    used: dict[str, list[StageGraph]] = {}
    placed: dict[str, tuple[Constant, ...]] = {}
    for plan in manifest.plans.values():
        for graph in plan.graphs:
            entry = manifest.graphs[graph.graph]
            for file in (entry.file, entry.other):
                used.setdefault(file, []).append(graph)
    for entry in manifest.graphs.values():
        if entry.kernel:
            placed[entry.file] = entry.kernel.constants
    sizes = {name: file.bytes for name, file in manifest.files.items()}
    check_graph_files(folder, sizes, used, placed)


def _check_file(folder: Path, name: str, entry: FileEntry, verify: bool) -> None:
    try:
        size = check_regular(folder, name).st_size
    except OSError as error:
        raise BundleError(
            f"bundle {folder}: {name} is missing; copy the bundle again, or export it again"
        ) from error
    if size != entry.bytes:
        raise BundleError(
            f"bundle {folder}: {name} has {size} bytes instead of {entry.bytes}; copy or export it again"
        )
    if verify and sha256_of(folder / name) != entry.sha256:
        raise BundleError(
            f"bundle {folder}: {name} was altered (its SHA-256 differs); copy or export it again"
        )
