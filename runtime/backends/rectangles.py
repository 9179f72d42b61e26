"""Copies many rectangles of a device's memory by one kernel, which lies in the plugins' library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgeflow.targets.plugin_library import is_whole

FUNCTION = "edgeflow_copy_rectangles"


def kernel_of(library: Path) -> RectangleKernel | None:
    """The kernel of a plugin library; None if the file is not whole, or of an older edgeflow that has no such kernel."""
    try:
        return RectangleKernel(library) if is_whole(library) else None
    except (AttributeError, OSError):
        return None


class Rectangle(NamedTuple):
    """Rows of bytes.

    Attributes:
        source: address of the first row.
        target: address of the first row.
        width: bytes of a row.
        height: rows.
    """

    source: int
    target: int
    width: int
    height: int


class _Rectangle(ctypes.Structure):
    _fields_ = (
        ("source", ctypes.c_void_p),
        ("target", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )


class RectangleKernel:
    """The kernel of a library.

    Args:
        library: of the plugins, as `edgeflow build` compiled it.

    Raises:
        AttributeError: it has no such kernel.
        OSError: it cannot be loaded.
    """

    def __init__(self, library: Path) -> None:
        self._function = getattr(ctypes.CDLL(str(library)), FUNCTION)
        self._function.argtypes = (
            ctypes.POINTER(_Rectangle),
            ctypes.c_int32,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_void_p,
        )
        self._function.restype = ctypes.c_int

    def copy(
        self, rectangles: Sequence[Rectangle], source_pitch: int, target_pitch: int, stream: int
    ) -> bool:
        """Enqueue the copies; whether CUDA took them.

        Args:
            rectangles: of which none overlaps another's target.
            source_pitch: bytes from one row to the next.
            target_pitch: bytes from one row to the next.
            stream: that they are enqueued on.
        """
        table = (_Rectangle * len(rectangles))(*(_Rectangle(*one) for one in rectangles))
        status: int = self._function(table, len(rectangles), source_pitch, target_pitch, stream)
        return status == 0
