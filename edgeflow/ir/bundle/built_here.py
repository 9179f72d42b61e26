"""Which engines and plugin libraries this machine's own `edgeflow build` made.

They run as the user does: a TensorRT engine or a plugin library may do anything that a program may. A bundle can bring files
with any hash it likes, so that a file was built here is recorded outside it, in the user's cache folder (`cache_folder`).
"""

from __future__ import annotations

from edgeflow.ir.cache_folder import VARIABLE, cache_folder
from edgeflow.ir.errors import BundleError


def record_built(sha256: str) -> None:
    """Note that a file of this hash was built here, or is trusted.

    Raises:
        BundleError: there is no place for it.
    """
    folder = cache_folder("built")
    if folder is None:
        raise BundleError(
            f"what is built here is recorded in the cache folder, and there is none: set {VARIABLE} to one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / sha256).touch(0o600)
    except OSError as error:
        raise BundleError(
            f"cannot record what was built in {folder}: {error.strerror}; make it writable"
        ) from error


def was_built_here(sha256: str) -> bool:
    """Whether a file of this hash was built on this machine, by this user."""
    folder = cache_folder("built")
    return folder is not None and (folder / sha256).is_file()
