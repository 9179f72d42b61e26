"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.memory import HostMemory, Memory

_SPOILING = ["WeightBiasQuantization"]
"""Optimisers of ONNX Runtime 1.31 that spoil graphs: where scales are float16 this one loses biases, since the
product of two scales is too small for the type."""


_pools: list[int] = []
"""Threads of the process's pool, once there is one."""


def shared_pool(threads: int) -> int:
    """Threads of the pool that all sessions of this process share; it is made, with as many, if there is none.

    With it comes one arena for what lies between layers: engines run one after another, and with an arena
    each they would all keep as much as their largest run took.
    """
    if not _pools:
        ort.set_global_thread_pool_sizes(threads, 1)
        memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        doubling = ort.OrtArenaCfg(0, 0, -1, -1)  # as sessions' own: no limit, chunks of powers of two
        ort.create_and_register_allocator(memory, doubling)
        _pools.append(threads)
    return _pools[0]


class OnnxRuntimeBackend:
    """Sessions that share one thread pool and one arena.

    Args:
        threads: of the pool. The pool belongs to the process: the first backend sets its size. Sessions
            that other code opens in this process must set `use_per_session_threads = False` from then on.
        timed: engines time their operators.
        lanes: frames in flight, each in a thread of its own that is one of `threads`.
    """

    name = "onnxruntime"
    version = ort.__version__

    def __init__(self, threads: int, timed: bool = False, lanes: int = 1) -> None:
        self._timed = timed
        self.memory: Memory = HostMemory()
        self.threads = self.loads_at_once = threads
        self.joins = False
        pool = max(threads - lanes + 1, 1)  # a thread that waits for a run works in it
        found = shared_pool(pool)
        if found != pool:
            raise BackendError(
                f"ONNX Runtime's thread pool has {found} threads in this process, {pool} were asked for: "
                "open all sessions with one number of threads and of frames in flight"
            )

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> OnnxRuntimeEngine:
        """See `Backend.load`."""
        if precision == "bf16":  # of fp16 and int8, nothing needs proof: the graph itself is typed
            raise BackendError(
                f"ONNX Runtime's CPU provider cannot run {path.name} at bf16: run the bundle with openvino, "
                "or export it with --precision fp32"
            )
        options = ort.SessionOptions()
        options.use_per_session_threads = False
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        for name, size in {**dims, **({} if batch is None else {"batch": batch})}.items():
            options.add_free_dimension_override_by_name(name, size)
        folder = TemporaryDirectory(prefix="edgeflow-") if self._timed else None
        if folder:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder.name) / "operators")
        try:
            session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SPOILING
            )
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise BackendError(f"ONNX Runtime {self.version} refuses {path.name}: {reason}") from error
        return OnnxRuntimeEngine(session, inputs, outputs, folder)


class OnnxRuntimeEngine:
    """One session; arrays are bound in place, and a binding is kept per set of arrays.

    Args:
        session: the loaded graph.
        inputs: in the order `run` gets them.
        outputs: in the order `run` gets them.
        folder: where the session writes its operators' times, if it times them.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        self._session, self._folder = session, folder
        self._inputs = [port.tensor for port in inputs]
        self._outputs = [port.tensor for port in outputs]
        self._bindings: dict[tuple[int, ...], ort.IOBinding] = {}

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`."""
        arrays = (*inputs, *outputs)
        key = (*inputs[0].shape, *(array.ctypes.data for array in arrays))
        binding = self._bindings.get(key)
        if binding is None:
            if len(self._bindings) > 64:
                self._bindings.clear()
            binding = self._bindings[key] = self._bind(inputs, outputs)
        self._session.run_with_iobinding(binding)

    def twin(self, twins: dict[int, object]) -> OnnxRuntimeEngine:
        """See `SharedEngine.twin`."""
        twin = copy(self)
        twin._bindings = {}
        return twin

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`."""
        if self._folder is None:
            return ()
        with self._folder:
            events = json.loads(Path(self._session.end_profiling()).read_text())
        self._folder = None
        spent: defaultdict[str, float] = defaultdict(float)
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                spent[event["args"]["op_name"]] += event["dur"]
        return tuple(OperatorTime(kind, us / 1e3) for kind, us in spent.items())

    def _bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> ort.IOBinding:
        binding = self._session.io_binding()
        for name, array in zip(self._inputs, inputs, strict=True):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding
