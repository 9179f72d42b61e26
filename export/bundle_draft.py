"""A bundle on its way: what the steps between packing and the manifest take and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from edgeflow.export.weights import WeightFile
from edgeflow.ir.bundle import WEIGHTS, Bundle, FileEntry, GraphEntry, Manifest
from edgeflow.ir.bundle.layer_errors import LayerError
from edgeflow.ir.plan import Plan
from edgeflow.ir.task import Task
from edgeflow.targets import Target


@dataclass(frozen=True)
class BundleDraft:
    """A bundle before its manifest: files of graphs, goldens and weights lie in a folder.

    Attributes:
        folder: of the bundle to be.
        reference: how to build the model again.
        task: of the model.
        target: that it is for.
        provenance: what is known of the export.
        plans: by kind of frame.
        graphs: entries of the graph files, by id.
        weights: of all graphs; written to the folder.
        timed: milliseconds per batch size, by key of a plan's graph, of engines that were timed.
        files: of the folder, once all are written; none before.
        layers: what layers at reduced precision lose, by graph; None if that was not found out.
    """

    folder: Path
    reference: Mapping[str, Any]
    task: Task
    target: Target
    provenance: Mapping[str, Any]
    plans: Mapping[str, Plan]
    graphs: Mapping[str, GraphEntry]
    weights: WeightFile
    timed: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    layers: Mapping[str, tuple[LayerError, ...]] | None = None

    def with_weights(self, graphs: Mapping[str, GraphEntry], weights: WeightFile) -> BundleDraft:
        """The draft with graph files that were written over, and their weights, which are written here."""
        weights.write(self.folder / WEIGHTS)
        return replace(self, graphs=graphs, weights=weights)

    def noted(self, key: str, fact: Any) -> BundleDraft:
        """The draft that says one thing more of its export."""
        return replace(self, provenance={**self.provenance, key: fact})

    def as_bundle(self) -> Bundle:
        """It can be run; its manifest is not written."""
        target = self.target.to_json()
        manifest = Manifest(
            dict(self.reference),
            self.plans,
            self.graphs,
            target,
            dict(self.provenance),
            self.files,
            self.task,
        )
        return Bundle(self.folder, manifest)


Step: TypeAlias = Callable[[BundleDraft], BundleDraft]
"""One step of an export after packing."""
