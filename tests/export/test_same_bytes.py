"""An export made twice is the same, byte for byte, whatever the hash seed, the locale and the threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TIMED = ("created", "seconds")
"""What a manifest says of the export itself."""


def exported(folder: Path, **environment: str) -> dict[str, bytes]:
    """Files of a bundle, without when it was made."""
    folder.mkdir()
    tests = str(Path(__file__).parents[1])
    model = f"import sys; sys.path.insert(0, {tests!r})\nfrom routed_models import small\n\ndef build():\n    return small('Shortcut')\n"
    (folder / "model.py").write_text(model)
    command = [
        sys.executable,
        "-m",
        "edgeflow",
        "export",
        "model.py:build",
        "-o",
        "x.edgeflow",
        "--plan",
        "chained",
        "--json",
    ]
    own = {**os.environ, "EDGEFLOW_CACHE": str(folder / "cache"), **environment}
    subprocess.run(command, cwd=folder, env=own, check=True, capture_output=True)
    bundle = folder / "x.edgeflow"
    files = {
        path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()
    }
    manifest = json.loads(files["manifest.json"])
    for name in TIMED:
        del manifest["provenance"][name]
    return {**files, "manifest.json": json.dumps(manifest).encode()}


@pytest.mark.slow
def test_an_export_made_twice_is_the_same(tmp_path):
    one = exported(tmp_path / "one", PYTHONHASHSEED="1", LC_ALL="C", OMP_NUM_THREADS="1")
    other = exported(
        tmp_path / "other", PYTHONHASHSEED="77", LC_ALL="C.UTF-8", OMP_NUM_THREADS="2", TZ="Asia/Tokyo"
    )
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
