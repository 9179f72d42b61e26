"""One module per engine library, imported when a bundle asks for it."""

from __future__ import annotations

import os
from importlib import import_module

from edgeflow.ir.errors import BackendError
from edgeflow.runtime.backends.base import Backend as Backend
from edgeflow.runtime.backends.base import Engine as Engine
from edgeflow.runtime.backends.base import OperatorTime as OperatorTime
from edgeflow.runtime.backends.base import SharedEngine as SharedEngine

_MODULES = {
    "onnxruntime": ("onnxruntime_backend", "OnnxRuntimeBackend"),
    "onnxruntime-cuda": ("onnxruntime_cuda_backend", "OnnxRuntimeCudaBackend"),
    "openvino": ("openvino_backend", "OpenVinoBackend"),
    "openvino-gpu": ("openvino_backend", "OpenVinoGpuBackend"),
    "openvino-npu": ("openvino_backend", "OpenVinoNpuBackend"),
    "tensorrt": ("tensorrt_backend", "TensorRtBackend"),
}
"""By name: the library, with the device it runs engines on if that is not the CPU."""

ON_PROCESSOR = CONCURRENT = ("onnxruntime", "openvino")
"""Those that compute on the processor itself; they run several frames at a time: their engines are `SharedEngine`."""

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


def open_backend(library: str, threads: int | None = None, *, timed: bool = False, lanes: int = 1) -> Backend:
    """Import an engine library.

    Args:
        library: as in `INSTALL`.
        threads: CPU threads, of all frames in flight together; as many as this process may use if None.
        timed: load engines that time their operators, for profiles.
        lanes: frames that may be in flight together.

    Raises:
        BackendError: an unknown library, or it is not installed, or runs one frame at a time.
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
    if lanes > 1 and library not in CONCURRENT:
        raise BackendError(f"{library} runs one frame at a time: leave in_flight at 1")
    lane_options = {"lanes": lanes} if lanes > 1 else {}
    opened: Backend = backend(threads or len(os.sched_getaffinity(0)), timed, **lane_options)
    return opened
