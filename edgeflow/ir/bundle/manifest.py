"""The manifest of a bundle: its values, and how they stand as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bundle.graph_files import WEIGHTS as WEIGHTS
from edgeflow.ir.bundle.manifest_schema import MANIFEST_SCHEMA
from edgeflow.ir.bundle.older_schemas import to_newest
from edgeflow.ir.bundle.schema import short
from edgeflow.ir.errors import BundleError, EdgeflowError
from edgeflow.ir.plan import Plan
from edgeflow.ir.plan.faults import plan_faults
from edgeflow.ir.plan.plan_json import plan_from_json, plan_to_json
from edgeflow.ir.task import Task, default_task, task_from_json, task_to_json

FORMAT = "edgeflow-bundle"
SCHEMA = (1, 8)
MANIFEST = "manifest.json"


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


def manifest_from_json(data: Any, folder: str) -> Manifest:
    """A manifest from plain data, checked whole before anything is made of it.

    Args:
        data: what its file says; older schemas are brought to the newest one's form in place.
        folder: of the bundle, for messages.

    Raises:
        BundleError: another schema, or whatever is wrong with it, all at once.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BundleError(f"{folder}/{MANIFEST} is not an edgeflow manifest; export the bundle again")
    version = _version(data, folder)
    try:
        to_newest(data, version)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BundleError(
            f"bundle {folder}: {MANIFEST} lacks or misstates {short(str(error))}; export it again"
        ) from error
    wanted = MANIFEST_SCHEMA(data, "")
    _refuse(
        wanted if version < (1, 6) else chain(wanted, () if "task" in data else ["task is missing"]), folder
    )
    plans = {}
    for kind, plan in data["plans"].items():
        try:
            plans[kind] = plan_from_json(plan)
        except EdgeflowError as error:
            _refuse([f"plans.{kind}: {error}"], folder)
    graphs = {name: _graph_from_json(entry) for name, entry in data["graphs"].items()}
    files = {name: FileEntry(**entry) for name, entry in data["files"].items()}
    _refuse(
        chain(
            _missing(plans, graphs, files),
            *(plan_faults(plan, f"plans.{kind}") for kind, plan in plans.items()),
        ),
        folder,
    )
    task = task_from_json(data["task"]) if "task" in data else _older_task(plans)
    return Manifest(data["model"], plans, graphs, data["target"], data["provenance"], files, task)


_FAULTS = 20
"""So many faults are named, and no more looked for."""


def _refuse(faults: Iterable[str], folder: str) -> None:
    """Raise what was found, if anything was."""
    found = list(islice(faults, _FAULTS + 1))
    if found:
        more = " and more" if len(found) > _FAULTS else ""
        raise BundleError(f"bundle {folder}: {MANIFEST}: {'; '.join(found[:_FAULTS])}{more}: export it again")


def _version(data: dict[str, Any], folder: str) -> tuple[int, int]:
    stated = data.get("schema_version")
    if not isinstance(stated, list) or len(stated) != 2 or not all(type(number) is int for number in stated):
        raise BundleError(f"bundle {folder}: {MANIFEST} lacks or misstates schema_version; export it again")
    major, minor = stated
    if (major, minor) > SCHEMA or major != SCHEMA[0] or minor < 0:
        raise BundleError(
            f"bundle {folder} has schema {major}.{minor}, this edgeflow reads up to {SCHEMA[0]}.{SCHEMA[1]}: "
            "update edgeflow, or export the bundle with this version"
        )
    return major, minor


def _graph_from_json(entry: dict[str, Any]) -> GraphEntry:
    lists = {name: tuple(entry.get(name, ())) for name in ("segments", "plugins", "float_layers", "probes")}
    return GraphEntry(**{**entry, **lists, "kernel": _kernel_from_json(entry.get("kernel"))})


def _kernel_from_json(data: dict[str, Any] | None) -> Kernel | None:
    if data is None:
        return None
    return Kernel(
        data["name"],
        tuple(Constant(c["name"], c["offset"], tuple(c["shape"])) for c in data["constants"]),
    )


def _missing(
    plans: Mapping[str, Plan], graphs: Mapping[str, GraphEntry], files: Mapping[str, FileEntry]
) -> Iterator[str]:
    """Graphs and files that are named and not there, and constants outside the weight file."""
    if WEIGHTS not in files:
        yield f"{WEIGHTS} is not among its files"
        return
    weights = files[WEIGHTS].bytes
    for name, entry in graphs.items():
        named = (entry.file, entry.other, *(f"probes/{probe}.onnx" for probe in entry.probes))
        for file in named:
            if file and file not in files:
                yield f"graphs.{name} names {file!r}, which is not among its files"
        if not all(
            re.fullmatch(r"graphs/[^/]+\.onnx", file) for file in (entry.file, entry.other or entry.file)
        ):
            yield f"graphs.{name}: its files are graphs/NAME.onnx, not {entry.file!r} and {entry.other!r}"
        for constant in entry.kernel.constants if entry.kernel else ():
            if constant.offset % 4 or constant.offset + 4 * prod(constant.shape) > weights:
                yield f"graphs.{name}: the constant {constant.name} of its kernel lies outside {WEIGHTS}"
    for kind, plan in plans.items():
        for graph in plan.graphs:
            if graph.golden not in files:
                yield f"plans.{kind} names {graph.golden!r}, which is not among its files"
            if graph.graph not in graphs:
                yield f"plans.{kind} names the graph {graph.graph!r}, which is not among its graphs"


def _older_task(plans: Mapping[str, Plan]) -> Task:
    """A 1.5 manifest names no task: what a model did with a film followed from its inputs."""
    plan = next(iter(plans.values()))
    return default_task(plan.inputs, plan.outputs)
