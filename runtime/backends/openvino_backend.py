"""OpenVINO on the CPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openvino as ov

from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime


class OpenVinoBackend:
    """Compiled models of one core; they share its thread pool, which sleeps when idle.

    Args:
        threads: that an inference may use.
        timed: engines time their operators.
    """

    name = "openvino"
    version = ov.__version__.split("-")[0]

    def __init__(self, threads: int, timed: bool = False) -> None:
        self.threads = threads
        self._core = ov.Core()
        self._config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": timed,
        }

    def load(
        self, path: Path, inputs: Sequence[Port], outputs: Sequence[Port], dims: Mapping[str, int]
    ) -> OpenVinoEngine:
        """See `Backend.load`."""
        try:
            model = self._core.read_model(path)
            results = [model.output(port.tensor) for port in outputs]
            model = ov.Model(results, model.get_parameters(), path.stem)
            shapes = {}
            for port in inputs:
                batch = model.input(port.tensor).partial_shape[0]
                sizes = (dims.get(d, -1) if isinstance(d, str) else d for d in port.shape)
                shapes[port.tensor] = ov.PartialShape([batch, *map(ov.Dimension, sizes)])
            model.reshape(shapes)
            compiled = self._core.compile_model(model, "CPU", self._config)
        except Exception as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            raise BackendError(f"OpenVINO {self.version} refuses {path.name}: {reason}") from error
        return OpenVinoEngine(compiled, inputs, outputs, self._config["PERF_COUNT"])


class OpenVinoEngine:
    """One compiled model, with one request per input shape; arrays are used in place."""

    def __init__(
        self, compiled: Any, inputs: Sequence[Port], outputs: Sequence[Port], timed: bool = False
    ) -> None:
        self._compiled, self._timed = compiled, timed
        self._runs = 0
        self._inputs = [compiled.input(port.tensor) for port in inputs]
        self._outputs = [compiled.output(port.tensor) for port in outputs]
        self._requests: dict[tuple[int, ...], Any] = {}
        self._bound: dict[tuple[int, ...], tuple[int, ...]] = {}

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`."""
        shape = inputs[0].shape
        request = self._requests.get(shape)
        if request is None:
            request = self._requests[shape] = self._compiled.create_infer_request()
        key = tuple(array.ctypes.data for array in (*inputs, *outputs))
        if self._bound.get(shape) != key:
            for port, array in zip(self._inputs, inputs, strict=True):
                request.set_tensor(port, ov.Tensor(array, shared_memory=True))
            for port, array in zip(self._outputs, outputs, strict=True):
                request.set_tensor(port, ov.Tensor(array, shared_memory=True))
            self._bound[shape] = key
        request.infer()
        self._runs += 1

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`."""
        if not self._timed or not self._requests:
            return ()
        spent: defaultdict[str, float] = defaultdict(float)
        for node in next(iter(self._requests.values())).profiling_info:
            # The plugin keeps one mean per node over all runs of all requests.
            spent[node.node_type] += node.real_time.total_seconds() * 1e3 * self._runs
        return tuple(OperatorTime(kind, ms) for kind, ms in spent.items())
