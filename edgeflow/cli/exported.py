"""What an export says of the bundle that it made, in JSON or in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeflow.cli.console import err, megabytes, out
from edgeflow.cli.remarks import print_remarks
from edgeflow.cli.supported import print_support
from edgeflow.ir.bundle import GraphEntry, Manifest
from edgeflow.ir.bundle.beside_static import Beside, save_beside
from edgeflow.ir.errors import BackendError, InputError
from edgeflow.ir.film import calls_of
from edgeflow.ir.libraries import library

if TYPE_CHECKING:
    from edgeflow.export.compile import Compiled


@dataclass(frozen=True)
class Exported:
    """A bundle that was made.

    Attributes:
        compiled: what making it said.
        seconds: that it took.
        clip: what it did on the clip, beside the full static model; None if that was not measured.
    """

    compiled: Compiled
    seconds: float
    clip: Beside | None

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.compiled.manifest

    @property
    def weight_bytes(self) -> int:
        """Size of the file of weights."""
        return self.manifest.files["graphs/weights.bin"].bytes

    @property
    def graph_bytes(self) -> int:
        """Size of all graph files together."""
        return sum(self.manifest.files[g.file].bytes for g in self.manifest.graphs.values())

    @property
    def golden_bytes(self) -> int:
        """Size of all golden vectors together."""
        return sum(entry.bytes for name, entry in self.manifest.files.items() if name.startswith("golden/"))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        compiled, manifest = self.compiled, self.manifest
        return {
            "bundle": str(compiled.path),
            "target": manifest.target["name"],
            "precision": manifest.target["precision"],
            "engines": {name: _engine(entry) for name, entry in manifest.graphs.items()},
            "plans": {kind: plan.strategy for kind, plan in manifest.plans.items()},
            "graphs": len(manifest.graphs),
            "segments_lowered": compiled.lowered,
            "segments_resumed": compiled.resumed,
            "unique_weight_bytes": compiled.unique_weight_bytes,
            "weight_file_bytes": self.weight_bytes,
            "graph_bytes": self.graph_bytes,
            "golden_bytes": self.golden_bytes,
            "seconds": round(self.seconds, 2),
            "seconds_by_part": manifest.provenance["seconds"],
            "route_mix": self.clip.routes if self.clip else None,
            "clip": self.clip.to_json() if self.clip else None,
            "support": manifest.provenance.get("support"),
            "compared": manifest.provenance["compared"],
            "remarks": manifest.provenance["remarks"],
        }


def print_exported(made: Exported) -> None:
    """Say in words what was made."""
    manifest = made.manifest
    out.print(_summary(made), soft_wrap=True)
    if manifest.target["precision"] != "fp32":
        counts = Counter(entry.precision for entry in manifest.graphs.values())
        out.print("engines: " + ", ".join(f"{count} at {name}" for name, count in counts.items()))
        print_remarks(manifest.graphs, "  ")
    if found := manifest.provenance.get("support"):
        print_support(found)
    for remark in manifest.provenance["remarks"]:
        out.print(remark, soft_wrap=True)
    out.print(_compared(manifest.provenance["compared"], manifest.provenance["seconds"]), soft_wrap=True)
    if made.clip:
        _print_clip(made.clip)
    if library(manifest.target["library"]).builds == "engines":
        path = made.compiled.path
        out.print(f"next: copy {path} to the device and run `edgeflow build` on it there", soft_wrap=True)


def on_clip(bundle: Path, clip: Path | None, frames: list[Any]) -> Beside | None:
    """What a bundle does on a clip's frames, (h, w, 3) uint8, beside its full static model, which is kept in it.

    Returns:
        None without a clip, or where the bundle does not run.
    """
    if clip is None:
        return None
    from edgeflow.ir.bundle import open_bundle
    from edgeflow.runtime.measure.beside_static import beside_static

    try:
        opened = open_bundle(bundle)
        found = beside_static(opened, list(calls_of(opened.manifest.task, frames)), clip.name)
        save_beside(bundle, found)
        return found
    except (BackendError, InputError) as error:
        err.print(f"edgeflow: routes were not counted: {error}")
        return None


def _print_clip(clip: Beside) -> None:
    """Say what it did on the clip."""
    shared = ", ".join(f"{route}: {share:.0%}" for route, share in clip.routes.items())
    if shared:
        out.print(f"routes on the clip: {shared}", soft_wrap=True)
    if clip.full_ms is not None:
        out.print(clip.in_words, soft_wrap=True)
    if clip.loss:
        out.print(clip.loss, soft_wrap=True)


def _summary(made: Exported) -> str:
    manifest = made.manifest
    return (
        f"{made.compiled.path}: {len(manifest.graphs)} graphs for {', '.join(manifest.plans)} frames, "
        f"weights {megabytes(made.weight_bytes)} (unique {megabytes(made.compiled.unique_weight_bytes)}), "
        f"graphs {megabytes(made.graph_bytes)}, goldens {megabytes(made.golden_bytes)}, {made.seconds:.0f} s "
        f"({_parts(manifest.provenance['seconds'])})"
    )


def _engine(entry: GraphEntry) -> dict[str, Any]:
    return {
        "precision": entry.precision,
        "sqnr_db": entry.sqnr_db,
        "float_layers": list(entry.float_layers),
        "note": entry.note,
    }


def _compared(verdict: dict[str, Any], seconds: dict[str, float]) -> str:
    """How the engines were compared with the model, in one line."""
    if not verdict["compared"]:
        return f"not compared with the model: {verdict['why']}"
    moves = verdict["moves_by"]
    own = f"; the model itself moves by {moves:.0e} when its inputs change in the last digit" if moves else ""
    device = f"; `edgeflow build` compares {verdict['instead_of']}'s own" if "instead_of" in verdict else ""
    return (
        f"compared with the model on {verdict['library']} {verdict['version']} in {seconds['compare']:.0f} s: engines within "
        f"{verdict['largest_error']:.0e}, frames at {verdict['psnr_db']:.0f} dB{own}{device}"
    )


def _parts(seconds: dict[str, float]) -> str:
    """What most of an export's time went to."""
    most = sorted(seconds.items(), key=lambda part: -part[1])[:3]
    return ", ".join(f"{name} {spent:.0f} s" for name, spent in most)
