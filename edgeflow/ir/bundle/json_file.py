"""Reads and writes a bundle's JSON files: regular files of a bounded size, in bounded time, whatever is in them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle.schema import Schema
from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import write_atomically

LARGEST = 16 << 20
"""Bytes of a JSON file; a manifest of 600 engines has three million."""

_DIGITS = 24
"""Digits of a whole number; Python takes time in proportion to the square of them."""


def read_json(path: Path, advice: str = "export it again") -> Any:
    """What a JSON file says, as plain data.

    Args:
        path: of the file.
        advice: what to do about one that is damaged.

    Raises:
        OSError: it cannot be read.
        BundleError: no regular file, too large, or not JSON.
    """
    try:
        return json.loads(read_regular(path, LARGEST), parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is damaged ({error}); {advice}") from error


def read_beside(path: Path, schema: Schema, advice: str) -> Any:
    """What a file that lies beside those of the manifest says; None if there is none.

    Args:
        path: of the file.
        schema: what it has to say.
        advice: what to do about one that is damaged.

    Raises:
        BundleError: it cannot be read, or says something else.
    """
    try:
        data = read_json(path, advice)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): {advice}") from error
    if fault := next(schema(data, ""), None):
        raise BundleError(f"{path} is damaged ({fault}); {advice}")
    return data


def write_beside(path: Path, data: Any) -> None:
    """Write such a file, and its folder if there is none.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    make_folder(path.parent)
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())


def make_folder(folder: Path) -> None:
    """Make a folder in a bundle if there is none.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"cannot write {folder}: {error.strerror}; make the bundle writable") from error


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file; links are not followed, and pipes and devices not waited for.

    Raises:
        OSError: it cannot be read.
        BundleError: it is something else, or larger.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is no regular file: do not trust this bundle")
        if status.st_size > most:
            raise BundleError(
                f"{path} has {status.st_size} bytes, at most {most} are read: do not trust this bundle"
            )
        return file.read(most + 1)


def check_regular(folder: Path, name: str) -> os.stat_result:
    """What a file in a bundle is, which must be a regular one in regular folders.

    Raises:
        OSError: there is none.
        BundleError: a link, or something else than a file.
    """
    place = folder
    *parents, last = Path(name).parts
    for parent in parents:
        place = place / parent
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            raise BundleError(
                f"bundle {folder}: {parent} in {name!r} is no folder of its own; do not trust this bundle"
            )
    status = os.lstat(place / last)
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"bundle {folder}: {name!r} is a link or no regular file; do not trust this bundle")
    return status


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)
