"""TensorRT, without torch: named tensors, one stream, one arena for the activations of all engines.

All engines run on one stream, one after the other, so one arena as large as the largest needs serves all.
An engine holds an optimisation profile per static shape, and its weights once. A run whose shapes and
addresses were seen before is a CUDA graph, which is launched as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, SupportsFloat

import tensorrt as trt

from edgeflow.ir.bundle import MANIFEST, WEIGHTS
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.device_memory import DeviceArray, DeviceMemory
from edgeflow.targets.cudart import Cudart
from edgeflow.targets.engine_store import EngineSpec, engine_name, find_engine
from edgeflow.targets.nvidia import find
from edgeflow.targets.tensorrt_builder import Log, check_version, load_plugins
from edgeflow.targets.tensorrt_bundle import engine_folder

GRAPHS = 64
"""CUDA graphs that an engine keeps; frames reuse their buffers, so there are few."""


class Arena:
    """Activation memory that all engines share, since they run one after the other.

    Attributes:
        generation: rises whenever the memory moves.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory, self._size, self.generation = memory, 0, 0
        self._block: Any = None

    def reserve(self, size: int) -> None:
        """Make it at least this large."""
        if size > self._size:
            self._memory.cudart.synchronise(self._memory.stream)
            self._block, self._size = self._memory.empty((size,), "uint8"), size
            self.generation += 1

    def lend(self, context: trt.IExecutionContext) -> None:
        """Let a context compute in it."""
        if self._size:
            context.set_device_memory(self._block.address, self._size)


class TensorRtBackend:
    """Engines that `edgeflow build` made for this device.

    Args:
        threads: of the host; TensorRT uses none for inference.
        timed: wait for every engine, so that its time is its own, and time its layers.
        cudart: the CUDA runtime; loaded if None.

    Raises:
        BackendError: TensorRT is too old, or there is no device.
    """

    name = "tensorrt"
    version = trt.__version__
    loads_at_once = 1
    joins = False

    def __init__(self, threads: int, timed: bool = False, cudart: Cudart | None = None) -> None:
        check_version()
        self.threads, self._timed = threads, timed
        runtime = cudart or Cudart()
        self.device = find(runtime)
        self.memory = DeviceMemory(runtime, runtime.stream())
        self.log = Log()
        self._runtime = trt.Runtime(self.log)
        self._arena = Arena(self.memory)

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> TensorRtEngine:
        """See `Backend.load`. What is loaded is the engine that was built from this graph, for this device.

        Raises:
            BackendError: it was not built, or from another graph, or the file is damaged.
        """
        bundle = path.parent.parent
        folder = engine_folder(bundle, self.device, self.version)
        name = engine_name(path.stem, tuple(inputs), dims)
        file = folder / f"{name}.engine"
        spec = EngineSpec(path.stem, name, _source(bundle, path), precision, ())
        record = find_engine(file, spec)
        if record is None:
            raise BackendError(
                f"{name} has no engine for {self.device.name} and TensorRT {self.version} that was made from this "
                f"graph: run `edgeflow build {bundle}` on this machine"
            )
        if record.plugins:
            load_plugins(str(folder / record.plugins))
        engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if engine is None:
            raise BackendError(
                f"TensorRT {self.version} refuses {file}: {self.log.reason}; run `edgeflow build` again"
            )
        self._arena.reserve(engine.device_memory_size_v2)
        profiles = [dict(profile) for profile in record.profiles]
        return TensorRtEngine(engine, profiles, inputs, outputs, self.memory, self._arena, self._timed)


def _source(bundle: Path, graph: Path) -> tuple[str, str]:
    """SHA-256 of a graph's file and of the weights, as the manifest has them."""
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    return files[graph.relative_to(bundle).as_posix()]["sha256"], files[WEIGHTS]["sha256"]


class TensorRtEngine:
    """One engine; per profile one context, and per set of arrays one CUDA graph."""

    def __init__(
        self,
        engine: trt.ICudaEngine,
        profiles: Sequence[Mapping[str, tuple[int, ...]]],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        memory: DeviceMemory,
        arena: Arena,
        timed: bool = False,
    ) -> None:
        self._engine, self._memory, self._arena, self._timed = engine, memory, arena, timed
        self._inputs = [port.tensor for port in inputs]
        self._outputs = [port.tensor for port in outputs]
        self._profiles = {tuple(p[name] for name in self._inputs): i for i, p in enumerate(profiles)}
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._graphs: dict[tuple[int, ...], int] = {}
        self._seen: set[tuple[int, ...]] = set()
        self._capture = True
        self._generation = arena.generation
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._unused = [name for name in names if name not in {*self._inputs, *self._outputs}]
        self._spares: dict[str, DeviceArray] = {}
        self._layers = LayerTimes() if timed else None

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`. Returns when the work is enqueued, unless it is timed.

        The first run on a set of arrays is enqueued as it is, since TensorRT may still set itself up; the
        second is recorded as a CUDA graph, unless the engine cannot be.
        """
        if self._generation != self._arena.generation:
            self._forget()
        key = (*inputs[0].shape, *(array.address for array in (*inputs, *outputs)))
        graph = self._graphs.get(key)
        if graph is None:
            context = self._bound(inputs, outputs)
            if key in self._seen and self._capture and not self._timed:
                graph = self._record(context, key)
            self._seen.add(key)
        if graph is not None:
            self._memory.cudart.launch(graph, self._memory.stream)
        elif not context.execute_async_v3(self._memory.stream):
            raise BackendError(f"TensorRT could not run an engine on inputs {[a.shape for a in inputs]}")
        if self._timed:
            self._memory.cudart.synchronise(self._memory.stream)

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`: one entry per layer."""
        return self._layers.times() if self._layers else ()

    def _bound(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> trt.IExecutionContext:
        shapes = tuple(array.shape for array in inputs)
        if shapes not in self._profiles:
            raise BackendError(
                f"an engine has no profile for inputs {list(shapes)}, only for {sorted(self._profiles)}: "
                "run `edgeflow build` again"
            )
        context = self._context(self._profiles[shapes])
        for name, array in zip(self._inputs, inputs, strict=True):
            context.set_input_shape(name, array.shape)
        pairs = zip((*self._inputs, *self._outputs), (*inputs, *outputs), strict=True)
        addresses = {name: array.address for name, array in pairs} | self._spare(context)
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise BackendError(
                    f"TensorRT refuses the address of {name}: the engine has no such tensor; build it again"
                )
        return context

    def _context(self, profile: int) -> trt.IExecutionContext:
        if profile not in self._contexts:
            context = self._engine.create_execution_context(
                trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
            if context is None:
                raise BackendError(
                    "TensorRT could not make an execution context: the device's memory is full"
                )
            self._arena.lend(context)
            context.set_optimization_profile_async(profile, self._memory.stream)
            if self._layers:
                context.profiler = self._layers
            self._contexts[profile] = context
        return self._contexts[profile]

    def _record(self, context: trt.IExecutionContext, key: tuple[int, ...]) -> int | None:
        """A CUDA graph of one run; None, from now on, if the engine cannot be recorded."""
        cudart, stream = self._memory.cudart, self._memory.stream
        cudart.begin_capture(stream)
        try:
            if not context.execute_async_v3(stream):
                raise BackendError("TensorRT refuses to be recorded")
            graph = cudart.end_capture(stream)
        except BackendError:
            cudart.drop_capture(stream)
            self._capture = False
            return None
        if len(self._graphs) >= GRAPHS:
            self._drop_graphs()
        self._graphs[key] = graph
        return graph

    def _forget(self) -> None:
        """The arena has moved: contexts get its new place, and graphs, which hold the old one, go."""
        self._generation = self._arena.generation
        for context in self._contexts.values():
            self._arena.lend(context)
        self._drop_graphs()

    def _drop_graphs(self) -> None:
        for graph in self._graphs.values():
            self._memory.cudart.free_graph(graph)
        self._graphs.clear()
        self._seen.clear()

    def _spare(self, context: trt.IExecutionContext) -> dict[str, int]:
        """Addresses for outputs that nobody asked for, which TensorRT writes all the same."""
        for name in self._unused:
            shape = tuple(context.get_tensor_shape(name))
            size = prod(shape) * self._engine.get_tensor_bytes_per_component(name)
            if name not in self._spares or self._spares[name].nbytes < size:
                self._spares[name] = self._memory.empty((size,), "uint8")
        return {name: array.address for name, array in self._spares.items()}


class LayerTimes(trt.IProfiler):  # type: ignore[misc]
    """Sums what TensorRT reports of each layer."""

    def __init__(self) -> None:
        trt.IProfiler.__init__(self)
        self._ms: dict[str, float] = {}

    def report_layer_time(self, layer_name: str, ms: SupportsFloat) -> None:
        """Called by TensorRT."""
        self._ms[layer_name] = self._ms.get(layer_name, 0.0) + float(ms)

    def times(self) -> tuple[OperatorTime, ...]:
        """Per layer."""
        return tuple(OperatorTime(name, ms) for name, ms in self._ms.items())
