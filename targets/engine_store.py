"""Engine files that were built on a device, beside the bundle's own files.

    engines/KEY/GRAPH[-HEIGHTxWIDTH].engine        what the library made
    engines/KEY/GRAPH[-HEIGHTxWIDTH].engine.json   what it was made from, and its hash
    engines/KEY/timing.cache                       the builder's measurements

KEY names the device and the versions that an engine holds for. An engine is run only if it was made from
the very graph and weights that lie in the bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle import WEIGHTS, Bundle
from edgeflow.ir.errors import BackendError
from edgeflow.ir.files import sha256_of, write_atomically
from edgeflow.ir.plan import Port, StageGraph

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""(tensor, shape) of every input, batch first."""


@dataclass(frozen=True)
class EngineSpec:
    """What one engine is built from.

    Attributes:
        graph: id in the bundle.
        name: of the engine's file, without its suffix.
        source: SHA-256 of the graph file and of the weights.
        precision: it must turn out at.
        profiles: the static shapes that it serves.
    """

    graph: str
    name: str
    source: tuple[str, str]
    precision: str
    profiles: tuple[Shapes, ...]


@dataclass(frozen=True)
class EngineRecord:
    """What is known of an engine file.

    Attributes:
        source: as in `EngineSpec`.
        profiles: as in `EngineSpec`.
        plugins: name of the plugin library it needs; empty for none.
        bytes: of the file.
        sha256: of the file.
        seconds: that the build took.
        layers: layers by the type they were built at.
    """

    source: tuple[str, str]
    profiles: tuple[Shapes, ...]
    plugins: str
    bytes: int
    sha256: str
    seconds: float
    layers: Mapping[str, int]


def device_key(device: str, compute_capability: str, versions: Mapping[str, str]) -> str:
    """A folder name for a device and the versions that its engines hold for."""
    text = "-".join([device, f"sm{compute_capability}", *(f"{k}{v}" for k, v in sorted(versions.items()))])
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def engine_specs(bundle: Bundle, dims: Mapping[str, int]) -> tuple[EngineSpec, ...]:
    """The engines that a bundle's plans need.

    Args:
        bundle: open.
        dims: values for the free dimensions of the frame.

    Raises:
        BackendError: a dimension is free and has no value.
    """
    found: dict[str, list[StageGraph]] = {}
    for plan in bundle.manifest.plans.values():
        for stage in plan.stages:
            for graph in stage.graphs:
                found.setdefault(graph.graph, []).append(graph)
    return tuple(_spec(bundle, name, graphs, dims) for name, graphs in found.items())


def _spec(bundle: Bundle, name: str, graphs: list[StageGraph], dims: Mapping[str, int]) -> EngineSpec:
    entry = bundle.manifest.graphs[name]
    files = bundle.manifest.files
    source = (files[entry.file].sha256, files[WEIGHTS].sha256)
    profiles = {
        tuple((port.tensor, (batch, *_sizes(port, dims, bundle.path))) for port in graph.inputs)
        for graph in graphs
        for batch in graph.batches
    }
    return EngineSpec(
        name, engine_name(name, graphs[0].inputs, dims), source, entry.precision, tuple(sorted(profiles))
    )


def _sizes(port: Port, dims: Mapping[str, int], bundle: Path) -> tuple[int, ...]:
    if free := [d for d in port.shape if isinstance(d, str) and d not in dims]:
        raise BackendError(
            f"bundle {bundle}: the {free[0]} of {port.value} is free, engines are static: "
            "give the frames' size with --size WIDTHxHEIGHT"
        )
    return tuple(dims[d] if isinstance(d, str) else d for d in port.shape)


def engine_name(graph: str, inputs: tuple[Port, ...], dims: Mapping[str, int]) -> str:
    """Name of a graph's engine: with the frame's size where its shapes depend on that."""
    free = sorted({d for port in inputs for d in port.shape if isinstance(d, str) and d in dims})
    return "-".join([graph, *(["x".join(str(dims[d]) for d in free)] if free else [])])


def save_engine(path: Path, data: bytes, spec: EngineSpec, plugins: str, seconds: float, layers: Any) -> None:
    """Write an engine and its record; an interrupted write leaves the old ones, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    record = EngineRecord(
        spec.source, spec.profiles, plugins, len(data), sha256_of(path), seconds, dict(layers)
    )
    write_atomically(_record_of(path), (json.dumps(asdict(record), indent=1) + "\n").encode())


def find_engine(path: Path, spec: EngineSpec, plugins: str | None = None) -> EngineRecord | None:
    """The record of an engine file that is whole and was made from this; None if there is none.

    Args:
        path: of the engine.
        spec: what it must have been made from.
        plugins: name of the plugin library that it must need, if that matters; empty for none.
    """
    try:
        data = json.loads(_record_of(path).read_text())
        record = EngineRecord(
            **{**data, "source": tuple(data["source"]), "profiles": _profiles(data["profiles"])}
        )
        whole = path.stat().st_size == record.bytes and sha256_of(path) == record.sha256
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = record.source == spec.source and set(spec.profiles) <= set(record.profiles)
    return record if whole and same and plugins in (None, record.plugins) else None


def _profiles(data: Any) -> tuple[Shapes, ...]:
    return tuple(tuple((name, tuple(shape)) for name, shape in profile) for profile in data)


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")
