"""Native kernels: engines that are no graph in an engine library, for operators that libraries run slowly.

They need Numba (the extra `kernels`). Where it is missing, the graph that lies beside a kernel in the bundle
runs instead: the same function, slower.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from edgeflow.ir.bundle import Kernel
from edgeflow.ir.extensions import extensions
from edgeflow.runtime.backends import Engine


def open_kernel(kernel: Kernel, weights: Path, threads: int) -> Engine | None:
    """Load a kernel.

    Args:
        kernel: of a bundle's graph.
        weights: the bundle's weight file, which holds its constants.
        threads: CPU threads of a run.

    Returns:
        Its engine; None where Numba is missing, or a newer edgeflow named a kernel that this one lacks.
    """
    engine = _engine(kernel.name)
    opened: Engine | None = engine(kernel.read(weights), threads) if engine else None
    return opened


def _engine(name: str) -> Callable[..., Any] | None:
    """What makes a kernel's engine: `KERNEL` of the module of its name here, or an installed package's (entry points `edgeflow.kernels`)."""
    if name not in {module.name for module in iter_modules(__path__)}:
        return extensions("kernels", type).get(name)
    try:
        found: Callable[..., Any] | None = getattr(import_module(f"{__name__}.{name}"), "KERNEL", None)
    except ImportError:
        return None
    return found
