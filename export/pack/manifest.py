"""Writes a bundle's manifest, which names every other file: once, when all are there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from edgeflow.export.bundle_draft import BundleDraft
from edgeflow.ir.bundle import MANIFEST, FileEntry, Manifest, manifest_to_json
from edgeflow.ir.files import sha256_of
from edgeflow.ir.layer_errors import FILE as LAYERS
from edgeflow.ir.layer_errors import layers_to_json
from edgeflow.targets.plugin_library import SOURCES


def write_manifest(draft: BundleDraft) -> Manifest:
    """Write what a bundle needs beside its graphs, goldens and weights, and the manifest."""
    if draft.layers is not None:
        (draft.folder / LAYERS).write_text(layers_to_json(draft.layers))
    if any(entry.plugins for entry in draft.graphs.values()):
        shutil.copytree(SOURCES, draft.folder / "plugins", dirs_exist_ok=True)
    files = {
        path.relative_to(draft.folder).as_posix(): FileEntry(path.stat().st_size, sha256_of(path))
        for path in sorted(draft.folder.rglob("*"))
        if path.is_file()
    }
    manifest = replace(draft.as_bundle().manifest, files=files)
    text = json.dumps(manifest_to_json(manifest), indent=1)
    (draft.folder / MANIFEST).write_text(text + "\n")
    return manifest
