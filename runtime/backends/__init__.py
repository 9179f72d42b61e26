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
    "onnxruntime-cuda": ("onnxruntime_cuda_backend", "OnnxRuntimeCudaBackend"),
    "openvino": ("openvino_backend", "OpenVinoBackend"),
    "openvino-gpu": ("openvino_backend", "OpenVinoGpuBackend"),
    "openvino-npu": ("openvino_backend", "OpenVinoNpuBackend"),
    "tensorrt": ("tensorrt_backend", "TensorRtBackend"),
}
"""By name: the library, with the device it runs engines on if that is not the CPU."""

INSTALL = {
    "onnxruntime": "pip install 'edgeflow[onnxruntime]'",
    "onnxruntime-cuda": "pip install onnxruntime-gpu",
    "openvino": "pip install 'edgeflow[openvino]'",
    "openvino-gpu": "pip install 'edgeflow[openvino]'",
    "openvino-npu": "pip install 'edgeflow[openvino]'",
    "tensorrt": "on a Jetson it comes with JetPack (apt install python3-libnvinfer, and make the virtual "
    "environment with --system-site-packages), elsewhere pip install tensorrt",
}
"""How to get each of them."""


def open_backend(library: str, threads: int | None = None, *, timed: bool = False) -> Backend:
    """Import an engine library.

    Args:
        library: as in `INSTALL`.
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
            f"the engine library {library} is not installed ({error}): {INSTALL[library]}"
        ) from error
    opened: Backend = backend(threads or len(os.sched_getaffinity(0)), timed)
    return opened
