"""Native kernels: engines that are no graph in an engine library, for operators that libraries run slowly.

They need Numba (the extra `kernels`). Where it is missing, the graph that lies beside a kernel in the bundle
runs instead: the same function, slower.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from edgeflow.ir.bundle import Kernel
from edgeflow.runtime.backends import Engine

_MODULES = {"adabd": ("adabd", "AdaBDEngine")}


def open_kernel(kernel: Kernel, weights: Path, threads: int) -> Engine | None:
    """Load a kernel.

    Args:
        kernel: of a bundle's graph.
        weights: the bundle's weight file, which holds its constants.
        threads: CPU threads of a run.

    Returns:
        Its engine; None where Numba is missing, or a newer edgeflow named a kernel that this one lacks.
    """
    if kernel.name not in _MODULES:
        return None
    module, name = _MODULES[kernel.name]
    try:
        engine = getattr(import_module(f"edgeflow.runtime.kernels.{module}"), name)
    except ImportError:
        return None
    opened: Engine = engine(kernel.read(weights), threads)
    return opened
