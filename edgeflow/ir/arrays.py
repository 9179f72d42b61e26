"""Reads archives of numpy arrays (.npz) from outside: nothing is unpickled, and nothing allocated that is not there."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgeflow.ir.errors import BundleError

LARGEST = 2 << 30
"""Bytes that the arrays of one archive may take: a golden clip of 4K frames takes a fifth of it."""

_KINDS = "buif"


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an archive, by name.

    Raises:
        BundleError: no such archive, damaged, or its arrays are not what it says; they are of numbers or truth values alone.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > LARGEST:
                raise ValueError(f"its arrays take more than {LARGEST >> 30} GiB")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged files
        reason = " ".join(str(error).split())[:200]
        raise BundleError(
            f"{path} cannot be read ({reason}): copy the bundle again, or export it again"
        ) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed in another way than zip's own")
    with archive.open(member) as file:
        shape, order, dtype = _header(file)  # type: ignore[arg-type]
        size = prod(shape) * dtype.itemsize
        if dtype.kind not in _KINDS or min(shape, default=0) < 0 or size > member.file_size:
            raise ValueError(f"{member.filename} is not as large as it says, or of no numbers")
        data = file.read(size)
    flat = np.frombuffer(data, dtype, prod(shape)).copy()  # raises where the data ends before
    return flat.reshape(shape, order="F" if order else "C")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    return found
