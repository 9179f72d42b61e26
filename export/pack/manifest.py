"""Writes what completes a bundle: every file is hashed once, and the manifest, which names them, is written once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from edgeflow.export.bundle_draft import BundleDraft
from edgeflow.ir.bundle import MANIFEST, FileEntry, Manifest, manifest_to_json
from edgeflow.ir.bundle.layer_errors import FILE as LAYERS
from edgeflow.ir.bundle.layer_errors import layers_to_json
from edgeflow.ir.files import sha256_of
from edgeflow.targets.plugin_library import SOURCES


def complete(draft: BundleDraft) -> BundleDraft:
    """Write what a bundle needs beside its graphs, goldens and weights; the draft that names every file."""
    if draft.layers is not None:
        (draft.folder / LAYERS).write_text(layers_to_json(draft.layers))
    if any(entry.plugins for entry in draft.graphs.values()):
        shutil.copytree(SOURCES, draft.folder / "plugins", dirs_exist_ok=True)
    files = {
        path.relative_to(draft.folder).as_posix(): FileEntry(path.stat().st_size, sha256_of(path))
        for path in sorted(draft.folder.rglob("*"))
        if path.is_file()
    }
    return replace(draft, files=files)


def write_manifest(draft: BundleDraft) -> Manifest:
    """Write the manifest of a complete bundle."""
    manifest = draft.as_bundle().manifest
    text = json.dumps(manifest_to_json(manifest), indent=1)
    (draft.folder / MANIFEST).write_text(text + "\n")
    return manifest
