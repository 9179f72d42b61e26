"""Tries on this device the operators of a bundle that TensorRT is known to get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.tensorrt_backend import TensorRtBackend
from edgeflow.targets.engine_store import EngineSpec, source_of
from edgeflow.targets.tensorrt_bundle import Site, build_engine, engine_folder, usable

ALLOWED = 1e-3
"""Largest difference from NumPy's result, relative to its largest value; wrong samples differ by a share of that."""


@dataclass(frozen=True)
class Probed:
    """One operator, tried.

    Attributes:
        name: of the probe.
        error: largest difference from NumPy's result, relative to the largest value; None if TensorRT refused it.
        reason: what it said then.
        graphs: ids of the graphs that hold such an operator.
    """

    name: str
    error: float | None
    reason: str
    graphs: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether TensorRT computes it rightly here."""
        return self.error is not None and self.error <= ALLOWED

    @property
    def remark(self) -> str:
        """What there is to say of it; empty if it passed."""
        if self.passed:
            return ""
        wrong = (
            f"is refused here ({self.reason})" if self.error is None else f"is wrong here by {self.error:.1%}"
        )
        return (
            f"{self.name.partition('-')[0]} {wrong}: {', '.join(self.graphs)} computes it by other operators"
        )


def probe(bundle: Bundle, site: Site) -> tuple[Probed, ...]:
    """Build and run every probe of a bundle.

    Raises:
        BackendError: TensorRT does not start.
    """
    graphs: dict[str, list[str]] = {}
    for graph, entry in bundle.manifest.graphs.items():
        for name in entry.probes:
            graphs.setdefault(name, []).append(graph)
    return tuple(_tried(bundle, site, name, tuple(holding)) for name, holding in sorted(graphs.items()))


def _tried(bundle: Bundle, site: Site, name: str, graphs: tuple[str, ...]) -> Probed:
    with np.load(bundle.path / f"probes/{name}.npz") as stored:
        arrays: Mapping[str, NDArray[np.float32]] = dict(stored)
    try:
        return Probed(name, _error(bundle, site, name, arrays), "", graphs)
    except BackendError as error:
        return Probed(name, None, str(error), graphs)


def _error(bundle: Bundle, site: Site, name: str, arrays: Mapping[str, NDArray[np.float32]]) -> float:
    """How far TensorRT's result is from NumPy's, relative to the largest value; infinite if it is no number."""
    inputs, outputs = (_ports(arrays, f"{way}.") for way in ("in", "out"))
    shapes = tuple((port.tensor, arrays[f"in.{port.tensor}"].shape) for port in inputs)
    file = f"probes/{name}.onnx"
    written = tuple(port.tensor for port in outputs)
    source = source_of(bundle.manifest, file)
    spec = EngineSpec(name, file, f"probe-{name}", source, "fp32", (), written, (shapes,))
    folder = engine_folder(bundle.path, site.device, site.version)
    folder.mkdir(parents=True, exist_ok=True)
    record = usable([spec], folder, site).get(spec.name) or build_engine(bundle, spec, folder, site)
    backend = TensorRtBackend(1)
    engine = backend.open(Path(folder / f"{spec.name}.engine"), record, inputs, outputs)
    memory = backend.memory
    made = [memory.empty(arrays[f"out.{port.tensor}"].shape, np.float32) for port in outputs]
    engine.run([memory.upload(arrays[f"in.{port.tensor}"]) for port in inputs], made)
    differences = [
        np.abs(memory.download(array) - arrays[f"out.{port.tensor}"]).max()
        / np.abs(arrays[f"out.{port.tensor}"]).max()
        for array, port in zip(made, outputs, strict=True)
    ]
    worst = float(np.max(differences))
    return worst if np.isfinite(worst) else float("inf")


def _ports(arrays: Mapping[str, NDArray[np.float32]], way: str) -> tuple[Port, ...]:
    names = [name.removeprefix(way) for name in arrays if name.startswith(way)]
    return tuple(Port(name, name, tuple(arrays[way + name].shape[1:]), "float32") for name in names)
