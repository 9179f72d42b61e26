"""Which engines and plugin libraries this machine's own `edgeflow build` made.

They run as the user does: a TensorRT engine or a plugin library may do anything that a program may. A bundle can bring files
with any hash it likes, so that a file was built here is recorded outside it, in the user's cache folder (`cache_folder`).
"""

from __future__ import annotations

import os
from pathlib import Path

from edgeflow.ir.cache_folder import VARIABLE, cache_folder
from edgeflow.ir.errors import BundleError


def check_recordable() -> None:
    """Refuse to build where nothing can be recorded, before anything is built.

    Raises:
        BundleError: there is no place for records.
    """
    _writable_folder()


def record_built(sha256: str) -> None:
    """Note that a file of this hash was built here, or is trusted.

    Raises:
        BundleError: there is no place for it.
    """
    folder = _writable_folder()
    try:
        (folder / sha256).touch(0o600)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _writable_folder() -> Path:
    folder = cache_folder("built")
    if folder is None:
        raise BundleError(
            f"what is built here is recorded in the cache folder, and there is none: set {VARIABLE} to one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise BundleError(
            f"cannot record what was built in {folder}: it is not writable; set {VARIABLE} to a folder that is"
        )
    return folder


def _unwritable(folder: Path, error: OSError) -> BundleError:
    return BundleError(
        f"cannot record what was built in {folder}: {error.strerror}; set {VARIABLE} to a folder that can be written to"
    )


def was_built_here(sha256: str) -> bool:
    """Whether a file of this hash was built on this machine, by this user."""
    folder = cache_folder("built")
    return folder is not None and (folder / sha256).is_file()
