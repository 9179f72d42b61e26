"""Keeps skeletons of lowered segments from export to export, in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import write_atomically

BOUND = 256 << 20
"""Bytes of files that are kept; those used longest ago go first."""


@dataclass
class GraphCache:
    """Skeletons by fingerprint: in memory, and in a folder that any number of exports share.

    What cannot be read is missing, and what cannot be written is not kept: an export never fails for its cache.

    Attributes:
        folder: of the files; None to keep them in memory alone.
        bound: bytes of files to keep.
    """

    folder: Path | None = None
    bound: int = BOUND
    _known: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        """What was kept under a key, if it is whole."""
        if key not in self._known and self.folder is not None:
            file = self.folder / key
            try:
                data = file.read_bytes()
                os.utime(file)
            except OSError:
                return None
            if _seal(key, data[32:]) == data[:32]:
                self._known[key] = data[32:]
        return self._known.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Keep data under a key."""
        self._known[key] = data
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / key, _seal(key, data) + data)
            self._trim(self.folder)
        except (OSError, BundleError):
            return

    def _trim(self, folder: Path) -> None:
        """Remove the files used longest ago until the rest fits; another export may remove them at the same time."""
        known = []
        for file in folder.iterdir():
            try:
                found = file.stat()
            except FileNotFoundError:
                continue
            known.append((found.st_mtime, found.st_size, file))
        total = sum(size for _, size, _ in known)
        for _, size, file in sorted(known):
            if total <= self.bound:
                return
            file.unlink(missing_ok=True)
            total -= size


def _seal(key: str, data: bytes) -> bytes:
    """Tells a whole file, under its own name, from any other."""
    return hashlib.sha256(key.encode() + data).digest()
