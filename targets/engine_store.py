"""Engine files that were built on a device, beside the bundle's own files.

    engines/KEY/GRAPH[-HEIGHTxWIDTH][-exact].engine        what the library made
    engines/KEY/GRAPH[-HEIGHTxWIDTH][-exact].engine.json   what it was made from, and its hash
    engines/KEY/timing.cache                               the builder's measurements

KEY names the device and the versions that an engine holds for. An engine is run only if it was made from
the very graph and weights that lie in the bundle, on this machine: that is recorded outside it (`edgeflow.ir.bundle.built_here`). It writes what is wanted of the graph and nothing else: images as
uint8, or, in an engine of its own for checks, as float before rounding (`exact`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle import WEIGHTS, Bundle, Manifest
from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.bundle.json_file import read_json, write_beside
from edgeflow.ir.bundle.schema import each, number, row, table, text, whole
from edgeflow.ir.bundle.schema import record as record_of
from edgeflow.ir.errors import BackendError, BundleError
from edgeflow.ir.files import sha256_of, write_atomically
from edgeflow.ir.plan import EXACT, Plan, Port, StageGraph

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""(tensor, shape) of every input, batch first."""


@dataclass(frozen=True)
class EngineSpec:
    """What one engine is built from.

    Attributes:
        graph: id in the bundle.
        file: of the graph, in the bundle: its own, or its other form's.
        name: of the engine's file, without its suffix.
        source: SHA-256 of the graph file and of the weights.
        precision: it is to turn out at.
        plugins: types of plugin nodes in it.
        outputs: tensors that it writes; the graph's others are left out.
        profiles: the static shapes that it serves.
    """

    graph: str
    file: str
    name: str
    source: tuple[str, str]
    precision: str
    plugins: tuple[str, ...]
    outputs: tuple[str, ...]
    profiles: tuple[Shapes, ...]


@dataclass(frozen=True)
class EngineRecord:
    """What is known of an engine file.

    Attributes:
        source: as in `EngineSpec`.
        outputs: as in `EngineSpec`.
        profiles: as in `EngineSpec`.
        plugins: name of the plugin library it needs; empty for none.
        bytes: of the file.
        sha256: of the file.
        seconds: that the build took.
        layers: layers by the type they were built at.
        remarks: what of the build is worth knowing, such as tactics that memory was too short for.
    """

    source: tuple[str, str]
    outputs: tuple[str, ...]
    profiles: tuple[Shapes, ...]
    plugins: str
    bytes: int
    sha256: str
    seconds: float
    layers: Mapping[str, int]
    remarks: tuple[str, ...]


def device_key(device: str, compute_capability: str, versions: Mapping[str, str]) -> str:
    """A folder name for a device and the versions that its engines hold for."""
    text = "-".join([device, f"sm{compute_capability}", *(f"{k}{v}" for k, v in sorted(versions.items()))])
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def engine_specs(
    bundle: Bundle, wanted: Sequence[tuple[Plan, Mapping[str, int]]], failed: Collection[str] = ()
) -> tuple[EngineSpec, ...]:
    """The engines that plans need at frame sizes, each once: those that run, and those that checks compare with.

    Args:
        bundle: open.
        wanted: plans of it, each with values for the free dimensions of its frames.
        failed: names of probes that failed: graphs that hold such an operator take their other form.

    Raises:
        BackendError: a dimension is free and has no value.
    """
    profiles: dict[EngineSpec, set[Shapes]] = {}
    for plan, dims in wanted:
        for graph in plan.graphs:
            shapes = _shapes(bundle, graph, dims)
            for exact in (False, True)[: 2 if graph.exact else 1]:
                profiles.setdefault(_spec(bundle, graph, dims, exact, failed), set()).update(shapes)
    return tuple(replace(spec, profiles=tuple(sorted(shapes))) for spec, shapes in profiles.items())


def _spec(
    bundle: Bundle, graph: StageGraph, dims: Mapping[str, int], exact: bool, failed: Collection[str]
) -> EngineSpec:
    """What a graph's engine is built from, without its profiles."""
    entry = bundle.manifest.graphs[graph.graph]
    file = entry.other if set(entry.probes) & set(failed) else entry.file
    outputs = graph.written(exact)
    name = engine_name(graph.graph, graph.inputs, outputs, dims)
    source = source_of(bundle.manifest, file)
    return EngineSpec(graph.graph, file, name, source, entry.precision, entry.plugins, tensors(outputs), ())


def source_of(manifest: Manifest, file: str) -> tuple[str, str]:
    """SHA-256 of a graph's file and of the weights, as the manifest has them."""
    return manifest.files[file].sha256, manifest.files[WEIGHTS].sha256


def _shapes(bundle: Bundle, graph: StageGraph, dims: Mapping[str, int]) -> set[Shapes]:
    """What a graph's inputs are, at each of its batch sizes."""
    sizes = [(port.tensor, _sizes(port, dims, bundle.path)) for port in graph.inputs]
    return {tuple((tensor, (batch, *shape)) for tensor, shape in sizes) for batch in graph.batches}


def tensors(ports: Iterable[Port]) -> tuple[str, ...]:
    """Names of ports' tensors, as a spec has its outputs."""
    return tuple(sorted(port.tensor for port in ports))


def _sizes(port: Port, dims: Mapping[str, int], bundle: Path) -> tuple[int, ...]:
    if free := [d for d in port.shape if isinstance(d, str) and d not in dims]:
        raise BackendError(
            f"bundle {bundle}: the {free[0]} of {port.value} is free, engines are static: "
            "give the frames' size with --size WIDTHxHEIGHT"
        )
    return tuple(dims[d] if isinstance(d, str) else d for d in port.shape)


def engine_name(graph: str, inputs: Sequence[Port], outputs: Sequence[Port], dims: Mapping[str, int]) -> str:
    """Name of a graph's engine: with the frame's size where its shapes depend on that."""
    free = sorted({d for port in inputs for d in port.shape if isinstance(d, str) and d in dims})
    size = ["x".join(str(dims[d]) for d in free)] if free else []
    exact = ["exact"] if any(port.tensor.endswith(EXACT) for port in outputs) else []
    return "-".join([graph, *size, *exact])


def save_engine(path: Path, data: bytes, record: EngineRecord) -> None:
    """Write an engine and its record; an interrupted write leaves the old ones, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record_built(record.sha256)
    write_atomically(path, data)
    write_beside(_record_of(path), asdict(record))


def find_engine(path: Path, spec: EngineSpec, library: str = "") -> EngineRecord | None:
    """The record of an engine file that is whole and was made from this; None if there is none.

    Args:
        path: of the engine.
        spec: what it must have been made from.
        library: name of the plugin library that it must need; empty for none.
    """
    record = known_engine(path, spec.source, spec.outputs)
    fits = record is not None and set(spec.profiles) <= set(record.profiles) and record.plugins == library
    return record if fits else None


_SHA256 = text(64, "[0-9a-f]{64}", "a SHA-256")
_SHAPES = each(row(text(200), each(whole(1, 1 << 31), 16)), 1024)
_SCHEMA = record_of(
    {
        "source": row(_SHA256, _SHA256),
        "outputs": each(text(200), 4096),
        "profiles": each(_SHAPES, 4096),
        "plugins": text(255, r"(\w[\w.+-]*)?", "a bare name"),
        "bytes": whole(0, 1 << 44),
        "sha256": _SHA256,
        "seconds": number(0, 1e9),
        "layers": table(text(200), whole(0, 1 << 32), 1024),
        "remarks": each(text(4000), 1024),
    }
)


def trust_engines(folder: Path) -> None:
    """Take every engine and plugin library of a folder for one that was built here: its user says so."""
    for path in sorted(folder.glob("*.engine")) + sorted(folder.glob("*.so")):
        record_built(sha256_of(path))


def known_engine(path: Path, source: tuple[str, str], outputs: tuple[str, ...]) -> EngineRecord | None:
    """The record of an engine file that is whole, was built here, was made from these files, and writes these tensors; or None."""
    try:
        data = read_json(_record_of(path))
        if next(_SCHEMA(data, ""), None):
            return None
        record = EngineRecord(
            **{
                **data,
                **{name: tuple(data[name]) for name in ("source", "outputs", "remarks")},
                "profiles": _profiles(data["profiles"]),
            }
        )
        whole = path.stat().st_size == record.bytes and sha256_of(path) == record.sha256
    except (OSError, BundleError):
        return None
    return (
        record
        if whole and was_built_here(record.sha256) and (record.source, record.outputs) == (source, outputs)
        else None
    )


def _profiles(data: Any) -> tuple[Shapes, ...]:
    return tuple(tuple((name, tuple(shape)) for name, shape in profile) for profile in data)


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")
