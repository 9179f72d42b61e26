"""One module per engine library, imported when a bundle asks for it."""

from __future__ import annotations

import os
from importlib import import_module

from edgeflow.ir.errors import BackendError
from edgeflow.runtime.backends.base import Backend as Backend
from edgeflow.runtime.backends.base import Engine as Engine
from edgeflow.runtime.backends.base import OperatorTime as OperatorTime

_MODULES = {
    "onnxruntime": ("onnxruntime_backend", "OnnxRuntimeBackend"),
    "openvino": ("openvino_backend", "OpenVinoBackend"),
}


def open_backend(library: str, threads: int | None = None, *, timed: bool = False) -> Backend:
    """Import an engine library.

    Args:
        library: `onnxruntime` or `openvino`.
        threads: CPU threads of an inference; as many as this process may use if None.
        timed: load engines that time their operators, for profiles.

    Raises:
        BackendError: an unknown library, or it is not installed.
    """
    if library not in _MODULES:
        raise BackendError(f"unknown engine library {library!r}: known are {', '.join(_MODULES)}")
    module, name = _MODULES[library]
    try:
        backend = getattr(import_module(f"edgeflow.runtime.backends.{module}"), name)
    except ImportError as error:
        raise BackendError(
            f"the engine library {library} is not installed ({error}): pip install 'edgeflow[{library}]'"
        ) from error
    opened: Backend = backend(threads or len(os.sched_getaffinity(0)), timed)
    return opened
