"""What an engine that a bundle keeps was made from, and where it lies.

    engines/KEY/GRAPH-DIGEST.SUFFIX        what the library made of one graph, or of several that were joined
    engines/KEY/GRAPH-DIGEST.SUFFIX.json   its hash, and what else sessions need to know

KEY names the processor, its instruction sets and the library's build, DIGEST what else an engine holds for: the very graphs and
weights, shapes, outputs, precision and our own version; threads are up to each session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import edgeflow
from edgeflow.ir.bundle import MANIFEST, WEIGHTS
from edgeflow.ir.bundle.json_file import read_json
from edgeflow.runtime.backends.base import GraphFile
from edgeflow.runtime.machine import cpu_name, in_words, instruction_sets

SUFFIXES = {"openvino": ".blob", "onnxruntime": ".onnx"}
"""Suffixes of what libraries make for a processor, by library."""


@dataclass(frozen=True)
class CompiledFrom:
    """What an engine is made from.

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

    @property
    def bundle(self) -> Path:
        """The folder of the bundle that the graphs lie in."""
        return self.graphs[0].path.parent.parent

    @property
    def name(self) -> str:
        """GRAPH-DIGEST.

        Raises:
            BundleError: the bundle's manifest is damaged.
        """
        files = read_json(self.bundle / MANIFEST)["files"]
        described = {
            "graphs": [
                {
                    "sha256": files[graph.path.relative_to(self.bundle).as_posix()]["sha256"],
                    "ports": [[asdict(port) for port in ports] for ports in (graph.inputs, graph.outputs)],
                }
                for graph in self.graphs
            ],
            "weights": files[WEIGHTS]["sha256"],
            "edgeflow": edgeflow.__version__,  # which reads and joins the graphs
            "dims": self._used_dims(),
            "precision": self.precision,
            "batch": self.batch,
        }
        digest = sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        return f"{self.graphs[0].path.stem}-{digest[:12]}"

    def _used_dims(self) -> dict[str, int]:
        """The free dimensions that the graphs' inputs have."""
        named = {
            d for graph in self.graphs for port in graph.inputs for d in port.shape if isinstance(d, str)
        }
        return {d: size for d, size in self.dims.items() if d in named}


def engine_folder(bundle: Path, library: str, build: str) -> Path:
    """Where the engines made for this processor by this build of a library lie."""
    what = f"{cpu_name()} {in_words(instruction_sets())} {library} {build}"
    key = re.sub(r"[^a-z0-9.]+", "-", what.lower()).strip("-")
    return bundle / "engines" / key


def record_of(path: Path) -> Path:
    """The file that says what is known of a kept engine."""
    return path.with_name(f"{path.name}.json")
