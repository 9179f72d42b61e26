"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache, partial
from hashlib import sha256
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import finalize

import onnxruntime as ort

from edgeflow.ir.bfloat16 import held
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, GraphFile, OperatorTime
from edgeflow.runtime.backends.compiled_from import CompiledFrom
from edgeflow.runtime.backends.memory import HostMemory, Memory
from edgeflow.runtime.backends.onnxruntime_int8 import needs_precision
from edgeflow.runtime.backends.onnxruntime_store import SMALL, find_optimised, keep_optimised

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

    Graphs that a bundle keeps for this machine are taken from there.

    Args:
        threads: of each session, and of all frames in flight together.
        timed: engines time their operators.
        lanes: frames in flight, each in a thread of its own that is one of `threads`.

    Attributes:
        keeps: what has to be optimised is put into its bundle, for later sessions (`edgeflow build`).
    """

    name = "onnxruntime"
    accelerator = ""
    version = ort.__version__
    build = f"{ort.__version__}-{sha256(ort.get_build_info().encode()).hexdigest()[:8]}"

    def __init__(self, threads: int, timed: bool = False, lanes: int = 1) -> None:
        self._timed = timed
        self.keeps = False
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
        source = CompiledFrom((GraphFile(path, tuple(inputs), tuple(outputs)),), dims, precision, batch)
        kept = find_optimised(source, self.build)
        if kept is None and self.keeps:
            kept = keep_optimised(source, self.build, partial(self._optimise, source))
        options = self._options(source)
        if kept is not None:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        folder = TemporaryDirectory(prefix="edgeflow-") if self._timed else None
        if folder:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder.name) / "operators")
        name = (
            f"the model kept for {path.name} (`edgeflow build --anew` makes another)" if kept else path.name
        )
        session = self._open(kept or path, options, name)
        return OnnxRuntimeEngine(session, inputs, outputs, folder)

    def _options(self, source: CompiledFrom) -> ort.SessionOptions:
        (graph,) = source.graphs
        options = guest_options(self._threads_per_engine)
        options.add_session_config_entry("session.use_env_allocators", "1")
        if source.precision == "int8" and needs_precision(graph.path):
            options.add_session_config_entry("session.x64quantprecision", "1")
        for name, size in {
            **source.dims,
            **({} if source.batch is None else {"batch": source.batch}),
        }.items():
            options.add_free_dimension_override_by_name(name, size)
        ends = (*graph.inputs, *graph.outputs)
        options.enable_mem_pattern = _ends_bytes(ends, source.dims) < PLANNED_BYTES
        return options

    def _optimise(self, source: CompiledFrom, made: Path, weights: str) -> None:
        """Write a graph as it is optimised for this processor, and its larger weights to a file beside it."""
        options = self._options(source)
        options.optimized_model_filepath = str(made)
        for entry, value in (("file_name", weights), ("min_size_in_bytes", str(SMALL))):
            options.add_session_config_entry(f"session.optimized_model_external_initializers_{entry}", value)
        path = source.graphs[0].path
        self._open(path, options, path.name)

    def _open(self, path: Path, options: ort.SessionOptions, name: str) -> ort.InferenceSession:
        try:
            return ort.InferenceSession(
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
            raise BackendError(f"ONNX Runtime {self.version} refuses {name}: {reason}") from error


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
