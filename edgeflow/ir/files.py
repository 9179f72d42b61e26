"""Files written whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edgeflow.ir.errors import BundleError

if sys.platform != "win32":
    import fcntl


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under another name beside it, then rename; what killed processes left of earlier writes is removed.

    Raises:
        BundleError: it cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _remove_left(path)
        with temporary.open("wb") as file:
            _hold(file)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BundleError(
            f"cannot write {path}: {error.strerror}; free some space or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left(path: Path) -> None:
    """Remove what dead processes began to write under a file's name: nobody holds its lock."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), left.open("rb") as file:
            if _hold(file):
                left.unlink(missing_ok=True)


def _hold(file: BinaryIO) -> bool:
    """Take an open file's lock, which ends with the process; whether nobody else has it."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
