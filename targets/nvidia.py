"""What NVIDIA device this machine is: name, JetPack, CUDA, power mode and clocks."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgeflow.targets.cudart import Cudart

L4T = Path("/etc/nv_tegra_release")
MODEL = Path("/proc/device-tree/model")
MEMINFO = Path("/proc/meminfo")
JETPACKS = Path(__file__).with_name("jetpacks.csv")
"""A row per JetPack: the L4T release that it is made of, and the CUDA and TensorRT in it (NVIDIA's Jetson apt repositories)."""


@dataclass(frozen=True)
class Nvidia:
    """The device at hand.

    Attributes:
        name: of the board or GPU.
        compute_capability: as `8.7`.
        cuda: version of the CUDA runtime.
        driver: the newest CUDA that the driver knows.
        integrated: shares the host's memory.
        free_bytes: of its memory, as it can be had.
        total_bytes: of its memory.
        l4t: release of Jetson Linux, as `36.4.3`; empty elsewhere.
        jetpack: that this release belongs to; empty elsewhere.
        power_mode: as nvpmodel names it; empty where it is not known.
        clocks: `locked`, `dynamic`, or empty where that is not known.
    """

    name: str
    compute_capability: str
    cuda: str
    driver: str
    integrated: bool
    free_bytes: int
    total_bytes: int
    l4t: str = ""
    jetpack: str = ""
    power_mode: str = ""
    clocks: str = ""

    @property
    def words(self) -> str:
        """What a measurement holds for: name, compute capability, power mode and clocks, as far as they are known."""
        parts = [self.name, sm(self.compute_capability), self.power_mode, self.clocks]
        return ", ".join(part for part in parts if part)


def sm(capability: str) -> str:
    """A compute capability as compilers name it: `sm_87` of `8.7`."""
    return f"sm_{capability.replace('.', '')}"


def find(cudart: Cudart | None = None) -> Nvidia:
    """The first CUDA device.

    Raises:
        BackendError: there is none.
    """
    runtime = cudart or Cudart()
    total = runtime.memory()[1]
    l4t = l4t_release(L4T.read_text()) if L4T.is_file() else ""
    return Nvidia(
        _name(runtime),
        runtime.compute_capability,
        runtime.version,
        runtime.driver,
        runtime.integrated,
        free_bytes(runtime),
        total,
        l4t,
        jetpack_of(l4t),
        power_mode(_output("nvpmodel", "-q")),
        clocks(_output("jetson_clocks", "--show")),
    )


def l4t_release(text: str) -> str:
    """`36.4.3` from `# R36 (release), REVISION: 4.3, ...`; empty if it says something else.

    >>> l4t_release("# R36 (release), REVISION: 4.3, GCID: 38968081")
    '36.4.3'
    """
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else ""


def jetpack_of(l4t: str) -> str:
    """The JetPack that an L4T release belongs to, the longest that fits; empty if it is not known.

    >>> jetpack_of("36.4.0"), jetpack_of("36.4.3"), jetpack_of("35.4.1")
    ('6.1', '6.2', '')
    """
    with JETPACKS.open(newline="") as file:
        known = {row["l4t"]: row["jetpack"] for row in csv.DictReader(file)}
    fitting = [release for release in known if f"{l4t}.".startswith(f"{release}.")]
    return known[max(fitting, key=len)] if fitting else ""


def power_mode(text: str) -> str:
    r"""The mode in what `nvpmodel -q` prints.

    >>> power_mode("NV Power Mode: MAXN\n0\n")
    'MAXN'
    """
    found = re.search(r"Power Mode:\s*(\S+)", text)
    return found[1] if found else ""


def clocks(text: str) -> str:
    """Whether `jetson_clocks --show` finds the GPU's least and largest frequency equal.

    >>> clocks("GPU MinFreq=1300500000 MaxFreq=1300500000 CurrentFreq=1300500000")
    'locked'
    """
    found = re.search(r"GPU MinFreq=(\d+) MaxFreq=(\d+)", text)
    return "" if found is None else "locked" if found[1] == found[2] else "dynamic"


def free_bytes(cudart: Cudart | None = None) -> int:
    """Memory that can be had on the first CUDA device.

    Where it shares the host's memory, CUDA's own figure leaves out what the kernel would give back, such as the cache of
    files that were just copied (NVIDIA CUDA for Tegra, estimating total allocatable device memory): the kernel's counts.
    """
    runtime = cudart or Cudart()
    free, total = runtime.memory()
    return min(available(MEMINFO.read_text()), total) if runtime.integrated and MEMINFO.is_file() else free


def available(meminfo: str) -> int:
    r"""Bytes that `MemAvailable` of /proc/meminfo says; 0 if it is not there.

    >>> available("MemFree: 5 kB\\nMemAvailable:      2048 kB\\n")
    2097152
    """
    found = re.search(r"MemAvailable:\s*(\d+) kB", meminfo)
    return int(found[1]) << 10 if found else 0


def _name(cudart: Cudart) -> str:
    """The board's name on a Jetson, elsewhere that of CUDA's first device, which need not be the driver's first."""
    return MODEL.read_text().strip("\0\n ") if MODEL.is_file() else cudart.name


def _output(*command: str) -> str:
    """What a command prints; nothing if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
