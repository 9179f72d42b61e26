"""This machine: its processor's name, the instruction sets that decide how fast, and how exactly, engines compute, and this process's memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

_ASKED = {
    "avx2": "AVX2",
    "avx512f": "AVX512F",
    "avx_vnni": "",
    "avx512_vnni": "AVX512VNNI",
    "avx512_bf16": "AVX512BF16",
    "avx512_fp16": "AVX512FP16",
    "amx_int8": "",
    "amx_bf16": "",
    "amx_fp16": "",
    "asimd": "ASIMD",
    "asimddp": "ASIMDDP",
    "i8mm": "",
    "bf16": "",
    "sve": "SVE",
}
"""Names that Linux gives them, and numpy, which asks the processor itself; those that it does not know are empty."""


def cpu_name() -> str:
    """The processor, in its maker's words."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def instruction_sets() -> tuple[str, ...]:
    """Linux's names of those that this processor has, of vectors, bytes and half precision; none if it is unknown."""
    found, listed = _numpys(), _linuxes()
    if any(asked and name in listed and not found.get(asked, True) for name, asked in _ASKED.items()):
        listed = frozenset()  # an emulator shows the files of the machine it runs on: what the processor itself denies is not there
    return tuple(name for name, asked in _ASKED.items() if found.get(asked, name in listed))


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def resident_bytes() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int | None:
    """The most that it ever held; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return None


def in_words(sets: Sequence[str]) -> str:
    """How reports name them."""
    return " ".join(sets) or "no instruction sets known"


def _numpys() -> Mapping[str, bool]:
    """What numpy found, as `numpy.show_runtime` prints it."""
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            features: Mapping[str, bool] = import_module(module).__cpu_features__
        except (ImportError, AttributeError):
            continue
        return features
    return {}


def _linuxes() -> frozenset[str]:
    """Flags of the first processor that /proc/cpuinfo lists."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(flags.partition(":")[2].split())
