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

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import BundleError, EdgeflowError
from edgeflow.ir.files import sha256_of
from edgeflow.ir.plan import Plan, plan_from_json, plan_to_json
from edgeflow.ir.program import FRAME
from edgeflow.ir.task import Task, default_task, task_from_json, task_to_json

FORMAT = "edgeflow-bundle"
SCHEMA = (1, 7)
MANIFEST = "manifest.json"
WEIGHTS = "graphs/weights.bin"


@dataclass(frozen=True)
class Constant:
    """A float32 tensor of a kernel: its name, its first byte in the weight file, its shape."""

    name: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """A native kernel that computes what a graph computes, faster, where the runtime has it.

    Attributes:
        name: of the operator, such as `adabd`.
        constants: what it reads beside the graph's inputs.
    """

    name: str
    constants: tuple[Constant, ...]

    def read(self, weights: Path) -> dict[str, NDArray[np.float32]]:
        """Its constants, by name, from a bundle's weight file."""
        return {
            c.name: np.fromfile(weights, np.float32, prod(c.shape), offset=c.offset).reshape(c.shape)
            for c in self.constants
        }


@dataclass(frozen=True)
class GraphEntry:
    """One graph of a bundle.

    Attributes:
        file: path in the bundle.
        segments: segments it is made of.
        nodes: operators in the file.
        weight_bytes: of the weights it refers to.
        precision: its engine is to be built at: `fp32`, `fp16`, `bf16` or `int8`.
        sqnr_db: of its outputs at int8 against fp32 on the calibration inputs, if that was tried.
        plugins: plugin operators in it, by type.
        float_layers: at int8, names of its convolutions and matrix products that are not quantised since they
            lose too much.
        note: why it has another precision than the bundle, or how it was calibrated; mostly empty.
        kernel: what runs instead of the graph where it can be loaded.
        other: path of the same graph with operators in another form that TensorRT is known to get wrong; empty for none.
        probes: names of those operators' probes (`probes/NAME.onnx`): where one fails, `other` is built.
    """

    file: str
    segments: tuple[str, ...]
    nodes: int
    weight_bytes: int
    precision: str = "fp32"
    sqnr_db: float | None = None
    float_layers: tuple[str, ...] = ()
    note: str = ""
    plugins: tuple[str, ...] = ()
    kernel: Kernel | None = None
    other: str = ""
    probes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        model: reference and name of the model it was made from.
        plans: by frame kind: `any`, `landscape`, `portrait`, or `WIDTHxHEIGHT`.
        graphs: by id.
        target: the target it was made for, as plain data.
        provenance: versions and settings of the export.
        files: every file but the manifest, the profiles and the engines built on a device, by path.
        task: what a call is made of, and what comes of it.
    """

    model: dict[str, Any]
    plans: Mapping[str, Plan]
    graphs: Mapping[str, GraphEntry]
    target: dict[str, Any]
    provenance: dict[str, Any]
    files: Mapping[str, FileEntry]
    task: Task


@dataclass(frozen=True)
class Bundle:
    """A bundle that was opened and found whole."""

    path: Path
    manifest: Manifest


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain data."""
    return {
        "format": FORMAT,
        "schema_version": list(SCHEMA),
        "model": manifest.model,
        "target": manifest.target,
        "provenance": manifest.provenance,
        "task": task_to_json(manifest.task),
        "plans": {kind: plan_to_json(plan) for kind, plan in manifest.plans.items()},
        "graphs": {name: asdict(graph) for name, graph in manifest.graphs.items()},
        "files": {name: asdict(entry) for name, entry in sorted(manifest.files.items())},
    }


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
    try:
        data = json.loads((folder / MANIFEST).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{folder} is not a bundle: it has no readable {MANIFEST}; export it again"
        ) from error
    except json.JSONDecodeError as error:
        raise BundleError(f"bundle {folder}: {MANIFEST} is damaged ({error}); export it again") from error
    manifest = _manifest_from_json(data, folder)
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry, verify)
    return Bundle(folder, manifest)


def _manifest_from_json(data: Any, folder: Path) -> Manifest:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BundleError(f"{folder / MANIFEST} is not an edgeflow manifest; export the bundle again")
    try:
        major, minor = map(int, data["schema_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"bundle {folder}: {MANIFEST} lacks or misstates schema_version; export it again"
        ) from error
    if (major, minor) > SCHEMA or major != SCHEMA[0]:
        raise BundleError(
            f"bundle {folder} has schema {major}.{minor}, this edgeflow reads up to {SCHEMA[0]}.{SCHEMA[1]}: "
            "update edgeflow, or export the bundle with this version"
        )
    try:
        if (major, minor) == (1, 0):
            _to_1_1(data)
        if (major, minor) < (1, 2):
            _to_1_2(data)
        if (major, minor) < (1, 3):
            _to_1_3(data)
        if (major, minor) < (1, 4):
            _to_1_4(data)
        if (major, minor) < (1, 7):
            _to_1_7(data)
        graphs = {
            name: GraphEntry(
                **{
                    **entry,
                    **{
                        key: tuple(entry.get(key, ()))
                        for key in ("segments", "plugins", "float_layers", "probes")
                    },
                    "kernel": _kernel_from_json(entry.get("kernel")),
                }
            )
            for name, entry in data["graphs"].items()
        }
        plans = {kind: plan_from_json(plan) for kind, plan in data["plans"].items()}
        files = {name: FileEntry(**entry) for name, entry in data["files"].items()}
        task = _older_task(plans) if (major, minor) < (1, 6) else task_from_json(data["task"])
        manifest = Manifest(data["model"], plans, graphs, data["target"], data["provenance"], files, task)
    except EdgeflowError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BundleError(
            f"bundle {folder}: {MANIFEST} lacks or misstates {error}; export it again"
        ) from error
    if not manifest.plans:
        raise BundleError(f"bundle {folder}: {MANIFEST} has no plan; export it again")
    for plan in manifest.plans.values():
        plan.verify()
    for graph in manifest.graphs.values():
        for file in (graph.file, graph.other, *(f"probes/{name}.onnx" for name in graph.probes)):
            if file:
                _require(file, manifest, folder)
    for plan in manifest.plans.values():
        for golden in (graph.golden for graph in plan.graphs):
            _require(golden, manifest, folder)
    return manifest


def _kernel_from_json(data: dict[str, Any] | None) -> Kernel | None:
    if data is None:
        return None
    return Kernel(
        data["name"],
        tuple(Constant(c["name"], c["offset"], tuple(c["shape"])) for c in data["constants"]),
    )


def _require(name: str, manifest: Manifest, folder: Path) -> None:
    if name not in manifest.files:
        raise BundleError(
            f"bundle {folder}: {MANIFEST} names {name!r}, which is not among its files; export it again"
        )


def _to_1_1(data: dict[str, Any]) -> None:
    """Move a 1.0 manifest's fields to where 1.1 has them; its target had no roofline."""
    data["target"].setdefault("roofline", {"gflops": 200.0, "gbytes": 10.0, "launch_ms": 0.1})
    moved = {name: (entry.pop("flops"), entry.pop("golden")) for name, entry in data["graphs"].items()}
    for plan in data["plans"].values():
        batches = plan.pop("batches")
        for step in plan["steps"]:
            for graph in step.get("graphs", ()):
                graph["flops"], graph["golden"] = moved[graph["graph"]]
                graph["batches"] = batches if step["regions"] != FRAME else [1]


def _to_1_2(data: dict[str, Any]) -> None:
    """Let a 1.1 manifest's target name releases of its library, of which it named the oldest."""
    data["target"].setdefault("versions", [data["target"].pop("minimum", "0")])


def _to_1_3(data: dict[str, Any]) -> None:
    """A 1.2 manifest, in which it is not known which routes were planned for."""
    for plan in data["plans"].values():
        for step in plan["steps"]:
            for graph in step.get("graphs", ()):
                graph["expected"] = None


def _to_1_4(data: dict[str, Any]) -> None:
    """Tiles of a 1.3 manifest begin at any pixel, and its pictures are as large as its frames."""
    for plan in data["plans"].values():
        for step in plan["steps"]:
            if step["kind"] == "tile":
                step["multiple"] = 1


def _to_1_7(data: dict[str, Any]) -> None:
    """Engines of a 1.6 bundle say nothing of their pictures but bytes."""
    for plan in data["plans"].values():
        for step in plan["steps"]:
            for graph in step.get("graphs", ()):
                graph["means"] = []


def _older_task(plans: Mapping[str, Plan]) -> Task:
    """A 1.5 manifest names no task: what a model did with a film followed from its inputs."""
    plan = next(iter(plans.values()), None)
    return default_task(plan.inputs, plan.outputs) if plan else Task((), ())


def _check_file(folder: Path, name: str, entry: FileEntry, verify: bool) -> None:
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise BundleError(f"bundle {folder}: the path {name!r} leads outside it; do not trust this bundle")
    if not path.is_file():
        raise BundleError(f"bundle {folder}: {name} is missing; copy the bundle again, or export it again")
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(
            f"bundle {folder}: {name} has {size} bytes instead of {entry.bytes}; copy or export it again"
        )
    if verify and sha256_of(path) != entry.sha256:
        raise BundleError(
            f"bundle {folder}: {name} was altered (its SHA-256 differs); copy or export it again"
        )
