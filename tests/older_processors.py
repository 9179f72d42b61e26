"""Runs code as on a processor that lacks instructions of this one.

By the switch of oneDNN, which OpenVINO's CPU plugin obeys; or, for ONNX Runtime, which has none, by qemu-user with an
older processor's model (Debian: `apt install qemu-user`).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

QEMU = shutil.which("qemu-x86_64") if platform.machine() == "x86_64" else None

needs_qemu = pytest.mark.skipif(
    QEMU is None,
    reason="no older processor to run it on: install qemu-user, on x86-64 (apt install qemu-user)",
)


def capped_at_avx2(script: Path, *arguments: object) -> Any:
    """What a script prints, as JSON, where oneDNN takes no newer instructions than AVX2."""
    return _run([sys.executable, script, *arguments], {"ONEDNN_MAX_CPU_ISA": "AVX2"})


def emulated_haswell(script: Path, *arguments: object) -> Any:
    """What a script prints, as JSON, on an emulated Haswell: AVX2, but no VNNI, AVX-512 or bf16."""
    assert QEMU
    return _run([QEMU, "-cpu", "Haswell-v4", sys.executable, script, *arguments], {})


def _run(command: list[object], environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, **environment},
    )
    warnings = [line for line in done.stderr.splitlines() if "TCG doesn't support" not in line]
    assert done.returncode == 0, "\n".join(warnings[-20:])
    return json.loads(done.stdout.splitlines()[-1])
