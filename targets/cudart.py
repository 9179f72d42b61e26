"""The few calls of the CUDA runtime library that edgeflow needs, by ctypes.

JetPack and every CUDA installation bring `libcudart`, so neither torch nor another package is needed.
"""

from __future__ import annotations

from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_float,
    c_int,
    c_size_t,
    c_uint,
    c_ulonglong,
    c_void_p,
    create_string_buffer,
)
from typing import Any

from edgeflow.ir.errors import BackendError
from edgeflow.targets.cudart_library import load

HOST_TO_DEVICE, DEVICE_TO_HOST, ANYWHERE = 1, 2, 4
"""Kinds of copies; `ANYWHERE` leaves it to CUDA, as addresses may be the device's or those of mapped host memory."""
_NON_BLOCKING = 1
_THREAD_LOCAL = 1
_MAPPED = 2
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18
"""Numbers of `cudaDeviceAttr`: compute capability, and whether the GPU shares the host's memory."""
_NAME_BYTES, _PROPERTY_BYTES = 256, 16384
"""`cudaDeviceProp` begins with the name, in every release; the rest, which differs, is below 16 kB."""

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaDriverGetVersion": (POINTER(c_int),),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaHostGetDevicePointer": (POINTER(c_void_p), c_void_p, c_uint),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaMemcpy2DAsync": (
        c_void_p,
        c_size_t,
        c_void_p,
        c_size_t,
        c_size_t,
        c_size_t,
        c_int,
        c_void_p,
    ),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaEventCreate": (POINTER(c_void_p),),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaEventDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cudaGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGetLastError": (),
}


class Cudart:
    """The library, with errors raised.

    Args:
        library: its file; the first that is found if None.

    Raises:
        BackendError: no library, no driver or no device.
    """

    def __init__(self, library: str | None = None) -> None:
        self._library = load(library)
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, c_int
        self._library.cudaGetErrorString.argtypes = (c_int,)
        self._library.cudaGetErrorString.restype = c_char_p
        if self._int("cudaGetDeviceCount") < 1:
            raise BackendError("no CUDA device was found: is the GPU visible to this process (nvidia-smi)?")

    @property
    def version(self) -> str:
        """Version of the library, as `12.6`."""
        return _dotted(self._int("cudaRuntimeGetVersion"))

    @property
    def driver(self) -> str:
        """The newest CUDA that the driver knows, as `12.6`."""
        return _dotted(self._int("cudaDriverGetVersion"))

    @property
    def name(self) -> str:
        """Name of device 0, in its maker's words."""
        properties = create_string_buffer(_PROPERTY_BYTES)
        self._call("cudaGetDeviceProperties", properties, 0)
        return properties.raw[:_NAME_BYTES].split(b"\0")[0].decode(errors="replace")

    @property
    def compute_capability(self) -> str:
        """Compute capability of device 0, as `8.7`."""
        return f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"

    @property
    def integrated(self) -> bool:
        """Whether device 0 shares the host's memory, as on Jetson."""
        return bool(self._attribute(_INTEGRATED))

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes of the device."""
        free, total = c_size_t(), c_size_t()
        self._call("cudaMemGetInfo", byref(free), byref(total))
        return free.value, total.value

    def malloc(self, size: int) -> int:
        """Device memory of `size` bytes, aligned to 256.

        Raises:
            BackendError: there is not as much.
        """
        assert size >= 0, f"{size} bytes were asked for"
        return self._pointer("cudaMalloc", max(size, 1))

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def host_alloc(self, size: int) -> int:
        """Pinned host memory that the device can reach."""
        assert size >= 0, f"{size} bytes were asked for"
        return self._pointer("cudaHostAlloc", max(size, 1), _MAPPED)

    def free_host(self, address: int) -> None:
        """Give pinned memory back."""
        self._call("cudaFreeHost", address)

    def device_address(self, host: int) -> int:
        """The device's address of pinned host memory."""
        return self._pointer("cudaHostGetDevicePointer", host, 0)

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Enqueue a copy of `size` bytes."""
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def copy_2d(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: int,
        stream: int,
    ) -> None:
        """Enqueue a copy of `height` rows of `width` bytes, whose starts lie a pitch apart."""
        self._call(
            "cudaMemcpy2DAsync", target, target_pitch, source, source_pitch, width, height, kind, stream
        )

    def stream(self) -> int:
        """A stream that does not wait for the default one."""
        return self._pointer("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def free_stream(self, stream: int) -> None:
        """Give a stream back; what was enqueued on it is still done."""
        self._call("cudaStreamDestroy", stream)

    def event(self) -> int:
        """An event that can be timed."""
        return self._pointer("cudaEventCreate")

    def record(self, event: int, stream: int) -> None:
        """Let an event happen when all that was enqueued so far is done."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events that have happened."""
        found = c_float()
        self._call("cudaEventElapsedTime", byref(found), start, end)
        return found.value

    def free_event(self, event: int) -> None:
        """Give an event back."""
        self._call("cudaEventDestroy", event)

    def synchronise(self, stream: int) -> None:
        """Wait until a stream's work is done."""
        self._call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: int) -> None:
        """Record what this thread enqueues, instead of running it."""
        self._call("cudaStreamBeginCapture", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """An executable graph of what was recorded.

        Raises:
            BackendError: something that was enqueued cannot be recorded.
        """
        graph = self._pointer("cudaStreamEndCapture", stream, first=False)
        try:
            return self._pointer("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def drop_capture(self, stream: int) -> None:
        """End a recording that failed, and forget the error."""
        graph = c_void_p()
        self._library.cudaStreamEndCapture(stream, byref(graph))
        self._library.cudaGetLastError()

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue an executable graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def free_graph(self, graph: int) -> None:
        """Give an executable graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def _attribute(self, number: int) -> int:
        found = c_int()
        self._call("cudaDeviceGetAttribute", byref(found), number, 0)
        return found.value

    def _int(self, name: str) -> int:
        found = c_int()
        self._call(name, byref(found))
        return found.value

    def _pointer(self, name: str, *arguments: Any, first: bool = True) -> int:
        made = c_void_p()
        self._call(name, *((byref(made), *arguments) if first else (*arguments, byref(made))))
        return made.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            self._library.cudaGetLastError()
            reason = self._library.cudaGetErrorString(code).decode()
            raise BackendError(f"CUDA: {name} failed: {reason} ({code}){_ADVICE.get(code, '')}")


_GROUPS = "; who is not root joins the groups video and render, in a container also those of the device nodes"

_ADVICE = {
    2: "; close other programs that use the GPU, or take smaller batches",
    35: "; the driver is older than this CUDA, or there is no GPU: check nvidia-smi",
    46: "; another program holds the device: close it",
    100: f"; is the GPU visible to this process (nvidia-smi)?{_GROUPS}",
    719: "; the device stopped answering: see dmesg, restart the program",
    801: _GROUPS,
}
"""What to do, by error code."""


def _dotted(number: int) -> str:
    """`12.6` of CUDA's 12060."""
    return f"{number // 1000}.{number % 1000 // 10}"
