"""Finds the CUDA runtime library that suits the driver at hand."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from edgeflow.ir.errors import BackendError

NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")


def load(library: str | None = None) -> ctypes.CDLL:
    """The library: of those found the first that is no newer than the driver, which a newer one would refuse.

    Looked for on the loader's path (JetPack, a CUDA installation) and among the packages that pip's TensorRT brings.

    Args:
        library: its file, if that is known.

    Raises:
        BackendError: there is none.
    """
    names = [library] if library else [*NAMES, *map(str, _of_packages()), *_of_system()]
    newer = None
    for found in _opened(names):
        if _major(found, "cudaRuntimeGetVersion") <= _major(found, "cudaDriverGetVersion"):
            return found
        newer = newer or found
    if newer:
        return newer
    raise BackendError(
        f"the CUDA runtime library was not found (tried {', '.join(names)}): install CUDA, or add its lib64 "
        "folder to LD_LIBRARY_PATH"
    )


def _of_packages() -> list[Path]:
    """Where the packages nvidia-cuda-runtime-* put it, the newest first."""
    spec = find_spec("nvidia")
    folders = map(Path, (spec.submodule_search_locations if spec else None) or ())
    return sorted((file for folder in folders for file in folder.glob("*/lib/libcudart.so.*")), reverse=True)


def _of_system() -> list[str]:
    found = ctypes.util.find_library("cudart")
    return [found] if found else []


def _opened(names: list[str]) -> Iterator[ctypes.CDLL]:
    for name in names:
        try:
            yield ctypes.CDLL(name)
        except OSError:
            continue


def _major(library: ctypes.CDLL, function: str) -> int:
    """Major release that a version function of a library names; 0 if there is none, as without a driver."""
    number = ctypes.c_int()
    getattr(library, function)(ctypes.byref(number))
    return number.value // 1000
