"""Memory maps of the heap, joined again where a library split them.

OpenVINO binds its scratch memory to a memory node (`mbind`). When that is freed the binding stays on its pages, and the kernel keeps a map for each
place where it changes: 2 to 12 a session that was closed, of the 65,530 that a process may have. On a machine of one node
a binding says nothing, so there it is taken back.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_MBIND = {"x86_64": 237, "aarch64": 235}
"""The number of the system call, which the C library has no function for."""
_DEFAULT = 0
"""Its policy that binds to nothing."""


def join_heap_maps() -> None:
    """Join the heap's maps that differ in their binding alone; nothing where there are several nodes, or on another system."""
    if not _one_node() or platform.machine() not in _MBIND:
        return
    call = ctypes.CDLL(None).syscall
    for start, end in split_ranges(Path("/proc/self/maps").read_text().splitlines()):
        # What another thread unmapped meanwhile is refused by the kernel, and needs no joining.
        call(
            ctypes.c_long(_MBIND[platform.machine()]),
            ctypes.c_void_p(start),
            ctypes.c_size_t(end - start),
            ctypes.c_long(_DEFAULT),
            None,
            ctypes.c_long(0),
            ctypes.c_long(0),
        )


@cache
def _one_node() -> bool:
    """Whether this machine has one memory node."""
    try:
        nodes = Path("/sys/devices/system/node/online").read_text()
    except OSError:
        return False  # a kernel without nodes, or another system
    return sys.platform == "linux" and nodes.strip() == "0"


def split_ranges(maps: Sequence[str]) -> list[tuple[int, int]]:
    """Where (start, end) memory without a file that is read and written lies in several maps side by side.

    Args:
        maps: lines of `/proc/self/maps`.
    """
    runs: list[list[int]] = []
    for line in filter(_heap, maps):
        start, end = (int(side, 16) for side in line.split()[0].split("-"))
        if runs and runs[-1][-1] == start:
            runs[-1].append(end)
        else:
            runs.append([start, end])
    return [(run[0], run[-1]) for run in runs if len(run) > 2]


def _heap(line: str) -> bool:
    _, access, _, _, _, *name = line.split(None, 5)
    return access == "rw-p" and name in ([], ["[heap]"])
