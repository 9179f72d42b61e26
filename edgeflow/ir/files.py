"""Files written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeflow.ir.errors import BundleError


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under another name beside it, then rename.

    Raises:
        BundleError: it cannot be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
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


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A fresh folder beside `path` that takes its place when the block ends without an error.

    Raises:
        BundleError: the folder cannot be written, or `path` is a file.
    """
    if path.exists() and not path.is_dir():
        raise BundleError(f"cannot write the bundle {path}: a file of that name is in the way; remove it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    retired = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.replace(retired)
        temporary.replace(path)
    except OSError as error:
        raise BundleError(
            f"cannot write {path}: {error.strerror}; free some space or choose another place"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if retired.exists() and not path.exists():
            retired.replace(path)
        shutil.rmtree(retired, ignore_errors=True)
