"""Bundles of small models that hosts are tested with.

A host that wants another Python than the one with torch finds them made: `python tests/host_bundles.py FOLDER NAME...`
"""

import sys
from pathlib import Path

import film_models
from kept_bundles import compile_kept
from routed_models import small

from edgeflow.targets import load


def host_bundle(folder: Path, name: str) -> Path:
    """A small model's bundle for ONNX Runtime in a folder; it is made if it is not there."""
    path = folder / f"{name}.edgeflow"
    if not path.exists():
        model = small(name) if name in ("Shortcut", "Patchwork") else getattr(film_models, name)()
        compile_kept(model, load("cpu"), path, reference={"model": name})
    return path


if __name__ == "__main__":
    for name in sys.argv[2:]:
        host_bundle(Path(sys.argv[1]), name)
