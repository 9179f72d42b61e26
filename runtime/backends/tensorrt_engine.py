"""A TensorRT engine that runs: a context per profile, aligned addresses, and CUDA graphs of what comes back."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
import tensorrt as trt

from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.backends.device_memory import CAPTURED_AFTER, DeviceArray, DeviceMemory
from edgeflow.targets.tensorrt_log import Log

GRAPHS = 64
"""CUDA graphs that an engine keeps, those that were launched last."""
SEEN = 4096
"""Sets of addresses of which an engine remembers how often they came."""
ALIGNMENT = 256
"""Bytes that an address is a multiple of (NvInferRuntime.h, `setTensorAddress`)."""

Key = tuple[int, ...]
"""Rows and addresses of a run."""


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


class TensorRtEngine:
    """One engine.

    Args:
        engine: deserialised; it writes the outputs and no other tensor.
        profiles: the static shapes that it serves.
        inputs: in the order that `run` gets them.
        outputs: in the order that `run` gets them.
        memory: that it reads and writes.
        arena: for its activations.
        log: that its runtime writes to.
        timed: wait for every run, and time its layers.
    """

    def __init__(
        self,
        engine: trt.ICudaEngine,
        profiles: Sequence[Mapping[str, tuple[int, ...]]],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        memory: DeviceMemory,
        arena: Arena,
        log: Log,
        timed: bool = False,
    ) -> None:
        self._engine, self._memory, self._arena, self._log = engine, memory, arena, log
        self._inputs = [port.tensor for port in inputs]
        self._outputs = [port.tensor for port in outputs]
        self._profiles = {tuple(p[name] for name in self._inputs): i for i, p in enumerate(profiles)}
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._graphs: OrderedDict[Key, int] = OrderedDict()
        self._seen: OrderedDict[Key, int] = OrderedDict()
        self._aligned: dict[tuple[str, int], DeviceArray] = {}
        self._generation = arena.generation
        self._layers = LayerTimes() if timed else None
        self._capture = not timed

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`. Returns when the work is enqueued, unless it is timed.

        What lies at an address that TensorRT does not take is copied to one that it does. A set of addresses that came
        often is recorded as a CUDA graph, and launched as a whole from then on.
        """
        if self._generation != self._arena.generation:
            self._forget()
        given = [self._placed(name, array) for name, array in zip(self._inputs, inputs, strict=True)]
        made = [self._placed(name, array) for name, array in zip(self._outputs, outputs, strict=True)]
        for array, placed in zip(inputs, given, strict=True):
            self._move(array, placed)
        self._start(given, made)
        for array, placed in zip(outputs, made, strict=True):
            self._move(placed, array)
        if self._layers:
            self._memory.wait()

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`: one entry per layer."""
        return self._layers.times() if self._layers else ()

    def _placed(self, name: str, array: DeviceArray) -> DeviceArray:
        """The array, or one of this engine's own in its stead if TensorRT would not take its address."""
        if array.address % ALIGNMENT == 0:
            return array
        key = name, len(array)
        if key not in self._aligned:
            self._aligned[key] = self._memory.empty(array.shape, array.dtype)
        return self._aligned[key]

    def _move(self, source: DeviceArray, target: DeviceArray) -> None:
        if source is not target:
            self._memory.copy_rows(source, np.arange(len(source)), target)

    def _start(self, inputs: Sequence[DeviceArray], outputs: Sequence[DeviceArray]) -> None:
        """Launch the graph of these arrays if there is one, or enqueue the engine."""
        key = (*inputs[0].shape, *(array.address for array in (*inputs, *outputs)))
        graph = self._graphs.get(key)
        if graph is None:
            context = self._bound(inputs, outputs)
            if self._comes_back(key):
                graph = self._record(context, key)
        if graph is not None:
            self._graphs.move_to_end(key)
            self._memory.cudart.launch(graph, self._memory.stream)
        elif not context.execute_async_v3(self._memory.stream):
            raise BackendError(
                f"TensorRT could not run an engine on inputs {[a.shape for a in inputs]}: {self._log.reason}"
            )

    def _comes_back(self, key: Key) -> bool:
        """Count a set of addresses; whether it came so often that recording it will pay."""
        count = self._seen.pop(key, 0) + 1
        self._seen[key] = count
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return self._capture and count > CAPTURED_AFTER

    def _bound(self, inputs: Sequence[DeviceArray], outputs: Sequence[DeviceArray]) -> trt.IExecutionContext:
        shapes = tuple(array.shape for array in inputs)
        if shapes not in self._profiles:
            raise BackendError(
                f"an engine has no profile for inputs {list(shapes)}, only for {sorted(self._profiles)}: "
                "run `edgeflow build` again"
            )
        self._log.begin()
        context = self._context(self._profiles[shapes])
        for name, array in zip(self._inputs, inputs, strict=True):
            if not context.set_input_shape(name, array.shape):
                raise BackendError(f"TensorRT refuses the shape {array.shape} of {name}: {self._log.reason}")
        pairs = zip((*self._inputs, *self._outputs), (*inputs, *outputs), strict=True)
        for name, array in pairs:
            if not context.set_tensor_address(name, array.address):
                raise BackendError(
                    f"TensorRT refuses the address of {name}: {self._log.reason}; run `edgeflow build --anew`"
                )
        return context

    def _context(self, profile: int) -> trt.IExecutionContext:
        if profile not in self._contexts:
            context = self._engine.create_execution_context(
                trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
            if context is None:
                raise BackendError(
                    f"TensorRT could not make an execution context: {self._log.reason}; mostly the device's memory is "
                    "full: close other programs"
                )
            self._arena.lend(context)
            if not context.set_optimization_profile_async(profile, self._memory.stream):
                raise BackendError(f"TensorRT refuses profile {profile} of an engine: {self._log.reason}")
            if self._layers:
                context.profiler = self._layers
            self._contexts[profile] = context
        return self._contexts[profile]

    def _record(self, context: trt.IExecutionContext, key: Key) -> int | None:
        """A CUDA graph of one run; None, from now on, if the engine cannot be recorded."""
        cudart, stream = self._memory.cudart, self._memory.stream
        collecting = gc.isenabled()
        gc.disable()  # what a collection gave back while a stream is recorded would spoil the recording
        try:
            cudart.begin_capture(stream)
            if not context.execute_async_v3(stream):
                raise BackendError("TensorRT refuses to be recorded")
            graph = cudart.end_capture(stream)
        except BackendError:
            cudart.drop_capture(stream)
            self._capture = False
            self._log.begin()
            return None
        finally:
            if collecting:
                gc.enable()
        if len(self._graphs) >= GRAPHS:
            cudart.free_graph(self._graphs.popitem(last=False)[1])
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

    def __del__(self) -> None:
        if hasattr(self, "_graphs"):
            self._drop_graphs()  # CUDA frees those that still run when they are done


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
