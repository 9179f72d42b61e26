"""One module per engine library, imported when a bundle asks for it."""

from __future__ import annotations

import os
from importlib import import_module

from edgeflow.ir.errors import BackendError
from edgeflow.ir.libraries import library as described
from edgeflow.runtime.backends.base import Backend as Backend
from edgeflow.runtime.backends.base import Engine as Engine
from edgeflow.runtime.backends.base import OperatorTime as OperatorTime
from edgeflow.runtime.backends.base import SharedEngine as SharedEngine


def open_backend(library: str, threads: int | None = None, *, timed: bool = False, lanes: int = 1) -> Backend:
    """Import an engine library.

    Args:
        library: as `edgeflow.ir.libraries` names it.
        threads: CPU threads, of all frames in flight together; as many as this process may use if None.
        timed: load engines that time their operators, for profiles.
        lanes: frames that may be in flight together.

    Raises:
        BackendError: an unknown library, or it is not installed, or runs one frame at a time.
    """
    known = described(library)
    if not known.backend:
        raise BackendError(f"{library} runs no bundles: it stays in PyTorch (edgeflow.export.torch_tensorrt)")
    module, _, name = known.backend.partition(":")
    try:
        backend = getattr(import_module(module), name)
    except ImportError as error:
        raise BackendError(
            f"the engine library {library} is not installed ({error}): {known.install}"
        ) from error
    if lanes > 1 and not known.concurrent:
        raise BackendError(f"{library} runs one frame at a time: leave in_flight at 1")
    lane_options = {"lanes": lanes} if lanes > 1 else {}
    opened: Backend = backend(threads or len(os.sched_getaffinity(0)), timed, **lane_options)
    return opened
