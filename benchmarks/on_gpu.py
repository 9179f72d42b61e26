"""What a CUDA device can show without TensorRT: our kernels, our wrapper of the CUDA runtime, and what its calls cost.

    PYTHONPATH=. python benchmarks/on_gpu.py [FILE.json]

Needs nvcc, numpy, and torch with CUDA to hold arrays. Prints JSON, and ends with 1 if a check failed.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gpu_kernels
import gpu_runtime
import gpu_times
from kernel_calls import compile_for_gpu

from edgeflow.targets.cudart import Cudart

HERE = Path(__file__).parent


def main() -> int:
    """Run all, print all."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        kernels, work = compile_for_gpu(Path(folder)), _compiled(Path(folder))
        found["compiled_s"] = round(time.perf_counter() - begin, 1)
        cudart = Cudart()
        found["runtime"] = checked(gpu_runtime.checks(cudart, work))
        for timed in (
            gpu_times.graphs,
            gpu_times.graph_bytes,
            gpu_times.allocation,
            gpu_times.tile_copies,
            gpu_times.events,
            gpu_times.after_a_pause,
        ):
            found[timed.__name__] = _guarded(lambda timed=timed: timed(cudart, work))
        found["kernels"] = checked(gpu_kernels.checks(kernels))
    found["seconds"] = round(time.perf_counter() - begin, 1)
    text = json.dumps(found, indent=1)
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n")
    return int('"failed"' in text)


def checked(checks: Iterable[tuple[str, Callable[[], Any]]]) -> dict[str, Any]:
    """What every check returned, or how it failed."""
    return {name: _guarded(check) for name, check in checks}


def _guarded(check: Callable[[], Any]) -> Any:
    try:
        return check()
    except Exception as error:  # one failure must not hide what the others find
        return {"failed": f"{type(error).__name__}: {error}"[:600]}


def _compiled(folder: Path) -> ctypes.CDLL:
    library = folder / "work.so"
    flags = ["-std=c++17", "-O3", "-arch=native", "-shared", "-Xcompiler=-fPIC"]
    subprocess.run(["nvcc", *flags, HERE / "gpu_work.cu", "-o", library], check=True)
    return ctypes.CDLL(str(library))


if __name__ == "__main__":
    sys.exit(main())
