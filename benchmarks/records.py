"""Benchmark records: what every result says of itself, and where it is kept."""

from __future__ import annotations

import json
import os
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeflow.runtime.measure.profile import machine

RESULTS = Path(os.environ.get("EDGEFLOW_RESULTS", Path(__file__).parent / "results"))
"""Where results are kept; EDGEFLOW_RESULTS names another folder, for trying things out."""
PACKAGES = ("edgeflow", "numpy", "torch", "onnx", "onnxruntime", "openvino", "numba")


def record(**fields: Any) -> dict[str, Any]:
    """A record: the fields given, plus machine, versions and date."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**fields, "machine": machine(), "versions": versions, "date": date.today().isoformat()}


def save(name: str, records: list[dict[str, Any]], key: tuple[str, ...]) -> Path:
    """Merge records into results/NAME.json; one with the same key fields is replaced."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else []
    fresh = {tuple(r.get(k) for k in key) for r in records}
    kept = [r for r in known if tuple(r.get(k) for k in key) not in fresh]
    path.write_text(json.dumps(kept + records, indent=1) + "\n")
    return path
