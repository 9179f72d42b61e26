"""NVIDIA's Python bindings of one release over the doubles: an environment in which `import tensorrt` is the real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CUDA = {"10.3.0": "12060", "10.13.3.9": "13000"}
"""The CUDA runtime that a release stands on where it is shipped (JetPack 6 and 7.0); 13.2 for the others."""


@dataclass(frozen=True)
class Release:
    """What `set_up` and `compile_doubles` made of one release.

    Attributes:
        folder: with site, include and lib.
    """

    folder: Path

    @property
    def version(self) -> str:
        """Of the bindings."""
        return self.folder.name

    @property
    def headers(self) -> Path:
        """TensorRT's."""
        return self.folder / "include"

    def environment(self, log: Path, **double: str) -> dict[str, str]:
        """Variables of a process that runs edgeflow over the doubles.

        Args:
            log: what the doubles object to goes there.
            double: more of their variables, in lower case without DOUBLE_, such as `fault="segv"`.
        """
        (library,) = (self.folder / "lib").glob("libnvinfer.so.*")
        paths = [ROOT, self.folder / "site", HERE]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "LD_LIBRARY_PATH": str(self.folder / "lib"),
            "DOUBLE_NVINFER": str(library),
            "DOUBLE_LOG": str(log),
            "DOUBLE_CUDA_VERSION": CUDA.get(self.version, "13020"),
            **{f"DOUBLE_{name.upper()}": value for name, value in double.items()},
        }

    def run(self, log: Path, *command: str, **double: str) -> subprocess.CompletedProcess[str]:
        """Run `python COMMAND` over the doubles."""
        environment = self.environment(log, **double)
        return subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )


def objections(log: Path) -> Counter[str]:
    """What the doubles objected to or did not model, with how often; addresses and numbers of processes left out."""
    if not log.exists():
        return Counter()
    plain = re.sub(r"0x[0-9a-f]+", "PTR", log.read_text(errors="replace"))
    lines = (re.sub(r"^\[\d+\] ", "", line) for line in plain.splitlines())
    return Counter(line[:200] for line in lines if "VIOLATION" in line or "NOT MODELLED" in line)
