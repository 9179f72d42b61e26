"""What this process has of the system's memory: unused parts are given back, and too many memory maps are refused before engines fail."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from pathlib import Path
from typing import Any

from edgeflow.ir.errors import BackendError
from edgeflow.runtime.heap_maps import join_heap_maps

_LEAST_MAPS = 2000
"""Memory maps that a session's engines may need: hundreds were seen, where each holds code made for it."""


@cache
def _trim() -> Any:
    """The C library's `malloc_trim`; None elsewhere."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def give_back() -> None:
    """Give memory that was freed back to the system, and the memory maps that it was split into."""
    gc.collect()  # engines may be in circles of references
    if (trim := _trim()) is not None:
        trim(0)
    join_heap_maps()


def check_maps(folder: Path = Path("/proc")) -> None:
    """Refuse to load engines where the system's limit of memory maps is near: libraries crash there.

    Args:
        folder: where the kernel tells of itself.

    Raises:
        BackendError: says how many there are, and what to do.
    """
    try:
        most = int((folder / "sys/vm/max_map_count").read_text())
        with (folder / "self/maps").open("rb") as file:
            held = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 16), b""))
    except (OSError, ValueError):
        return  # another system: no such limit
    if held + _LEAST_MAPS > most:
        raise BackendError(
            f"this process holds {held} memory maps of the {most} that the system allows, too many to load engines: keep sessions open "
            "in place of opening new ones, start the process anew, or raise vm.max_map_count"
        )
