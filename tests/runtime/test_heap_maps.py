import ctypes
import mmap
import platform
from pathlib import Path

import numpy as np
import pytest

from edgeflow.runtime import Session
from edgeflow.runtime.heap_maps import join_heap_maps, split_ranges

MBIND, BIND, PAGES = {"x86_64": 237, "aarch64": 235}, 2, 64


def held(first: int, size: int) -> int:
    """How many maps of this process begin in so many bytes."""
    starts = [int(line.split("-")[0], 16) for line in Path("/proc/self/maps").read_text().splitlines()]
    return sum(first <= start < first + size for start in starts)


def test_maps_of_the_heap_that_lie_side_by_side_are_found():
    maps = [
        "1000-2000 rw-p 00000000 00:00 0                                  [heap]",
        "2000-3000 rw-p 00000000 00:00 0                                  [heap]",
        "3000-4000 rw-p 00000000 00:00 0 ",
        "4000-5000 r-xp 00000000 00:00 0 ",
        "5000-6000 rw-p 00000000 00:00 0 ",
        "7000-8000 rw-p 00000000 00:00 0 ",
        "8000-9000 rw-p 00001000 08:01 77 /usr/lib/a name.so",
        "9000-a000 rw-p 00000000 00:00 0 [stack]",
        "a000-b000 rw-p 00000000 00:00 0",
        "b000-d000 rw-p 00000000 00:00 0",
    ]
    assert split_ranges(maps) == [(0x1000, 0x4000), (0xA000, 0xD000)]


def test_a_map_that_a_binding_split_is_one_again():
    """Where the system allows no binding there is nothing to join, and one map all the same."""
    block = mmap.mmap(-1, PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block[:] = b"1" * len(block)
    first = ctypes.addressof(ctypes.c_char.from_buffer(block))
    node = ctypes.c_ulong(1)
    bound = ctypes.CDLL(None).syscall(
        ctypes.c_long(MBIND[platform.machine()]), ctypes.c_void_p(first + 8 * mmap.PAGESIZE), ctypes.c_size_t(4 * mmap.PAGESIZE),
        ctypes.c_long(BIND), ctypes.byref(node), ctypes.c_long(64), ctypes.c_long(0),
    )  # fmt: skip
    inside = held(first + mmap.PAGESIZE, len(block) - mmap.PAGESIZE)
    assert inside == (2 if bound == 0 else 0)
    join_heap_maps()
    assert held(first + mmap.PAGESIZE, len(block) - mmap.PAGESIZE) == 0
    assert block[:] == b"1" * len(block)


@pytest.mark.slow
def test_sessions_that_are_closed_leave_no_maps(small_bundle):
    _, bundle = small_bundle("Shortcut", "routes")
    frame, maps = np.zeros((16, 24, 3), np.uint8), []
    for _ in range(12):
        with Session(bundle.path, library="openvino", threads=1) as session:
            session.run(frame)
        maps.append(len(Path("/proc/self/maps").read_text().splitlines()))
    assert max(maps[6:]) - min(maps[3:6]) <= 4
