"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import finalize

import onnxruntime as ort

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.backends.memory import HostMemory, Memory
from edgeflow.runtime.backends.onnxruntime_int8 import needs_precision

_SPOILING = ["WeightBiasQuantization"]
"""Optimisers of ONNX Runtime 1.31 that spoil graphs: where scales are float16 this one loses biases, since the
product of two scales is too small for the type."""

PLANNED_BYTES = 1_000_000
"""Bytes of inputs and outputs; of engines that have more, tensors are not planned as one block from the second run on: the block comes on top of what the first
run took, up to twice the memory. Without it engines of a fraction of a millisecond take 3% longer, others no longer."""


@cache
def share_arena() -> None:
    """Make one arena for what lies between layers, which sessions may ask for; others keep arenas of their own.

    Engines run one after another: with an arena each they would all keep as much as their largest run took.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    doubling = ort.OrtArenaCfg(0, 0, -1, -1)  # as sessions' own: no limit, chunks of powers of two
    ort.create_and_register_allocator(memory, doubling)


def guest_options(threads: int) -> ort.SessionOptions:
    """Options of a session that leaves the process's other sessions as they are.

    It has threads of its own, since ONNX Runtime's shared pool would bind every session of the process to it. They
    sleep between runs: otherwise the threads of one engine would spin on the cores that the next one needs.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


class OnnxRuntimeBackend:
    """Sessions that share one arena. Each has threads of its own, which sleep between runs.

    Args:
        threads: of each session, and of all frames in flight together.
        timed: engines time their operators.
        lanes: frames in flight, each in a thread of its own that is one of `threads`.
    """

    name = "onnxruntime"
    accelerator = ""
    version = ort.__version__

    def __init__(self, threads: int, timed: bool = False, lanes: int = 1) -> None:
        self._timed = timed
        self.memory: Memory = HostMemory()
        self.threads = self.loads_at_once = threads
        self.joins = False
        self._threads_per_engine = max(threads // lanes, 1)
        share_arena()

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
        options = guest_options(self._threads_per_engine)
        options.add_session_config_entry("session.use_env_allocators", "1")
        if precision == "int8" and needs_precision(path):
            options.add_session_config_entry("session.x64quantprecision", "1")
        for name, size in {**dims, **({} if batch is None else {"batch": batch})}.items():
            options.add_free_dimension_override_by_name(name, size)
        options.enable_mem_pattern = _ends_bytes((*inputs, *outputs), dims) < PLANNED_BYTES
        folder = TemporaryDirectory(prefix="edgeflow-") if self._timed else None
        if folder:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder.name) / "operators")
        try:
            session = ort.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_SPOILING,
                enable_fallback=0,
            )
        except Exception as error:
            reason = str(error).splitlines()[0]
            if "DeformConv" in reason:
                reason += "; this graph needs ONNX Runtime 1.26 or newer: update it, or export the bundle again with --operators standard"
            raise BackendError(f"ONNX Runtime {self.version} refuses {path.name}: {reason}") from error
        return OnnxRuntimeEngine(session, inputs, outputs, folder)


def _ends_bytes(ports: Sequence[Port], dims: Mapping[str, int]) -> int:
    """Bytes of one region's inputs and outputs; a dimension that is not known counts as 1."""
    return sum(
        prod(dims.get(d, 1) if isinstance(d, str) else d for d in port.shape) * held(port.dtype).itemsize
        for port in ports
    )


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
        if folder:  # what nobody asked for goes with the engine
            finalize(self, folder.cleanup)
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
