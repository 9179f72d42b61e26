"""A folder that takes its place whole, or not at all, whatever dies on the way."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeflow.ir.errors import BundleError

if sys.platform != "win32":
    import fcntl

_AT_FDCWD, _EXCHANGE = -100, 2
"""Constants of Linux's renameat2(2)."""


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A fresh folder beside `path` that takes its place when the block ends without an error.

    The two are exchanged in one step where the system can, so that there is always a whole folder of that name. What
    killed processes left beside it is put back or removed, and while one process writes it no other may. A link stays, and the folder that
    it points to is written.

    Raises:
        BundleError: the folder cannot be written, `path` is a file, or another process is writing it.
    """
    if path.exists() and not path.is_dir():
        raise BundleError(f"cannot write the bundle {path}: a file of that name is in the way; remove it")
    path = path.resolve() if path.is_symlink() else path
    temporary, retired = (path.with_name(f".{path.name}.{end}") for end in ("new", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path, path):
            _take_back(path, temporary, retired)
            try:
                temporary.mkdir()
                yield temporary
                _put_in_place(temporary, path, retired)
            finally:
                _take_back(path, temporary, retired)
    except OSError as error:
        raise BundleError(
            f"cannot write {path}: {error.strerror}; free some space or choose another place"
        ) from error


def _put_in_place(temporary: Path, path: Path, retired: Path) -> None:
    if not path.exists():
        temporary.replace(path)
    elif not _exchange(temporary, path):
        path.replace(retired)
        temporary.replace(path)


def _take_back(path: Path, temporary: Path, retired: Path) -> None:
    """Remove what is left beside a folder; put back what was retired if nothing took its place."""
    if retired.exists() and not path.exists():
        retired.replace(path)
    for left in (temporary, retired):
        shutil.rmtree(left, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; False where the system, or the file system, cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    done: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    return done == 0


@contextmanager
def locked(path: Path, written: Path) -> Iterator[None]:
    """Hold the lock of a folder to be, in which, or for which, `written` is written; it ends with the process, however that ends.

    Raises:
        BundleError: another process holds it.
        OSError: its folder cannot be written.
    """
    if sys.platform == "win32":
        yield
        return
    file = path.with_name(f".{path.name}.lock")
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if not _take(descriptor, file):
            raise BundleError(
                f"another process is writing {written}: wait until it is done, or choose another name"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink()
    finally:
        os.close(descriptor)


def _take(descriptor: int, file: Path) -> bool:
    """Lock an open file, unless it is locked, or another one stands in its place by now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == file.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
