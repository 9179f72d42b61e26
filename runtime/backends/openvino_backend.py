"""OpenVINO, on the CPU or on Intel's GPU or NPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import openvino as ov

from edgeflow.ir.bundle import WEIGHTS
from edgeflow.ir.errors import BackendError, EdgeflowError, PrecisionError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, GraphFile, OperatorTime
from edgeflow.runtime.backends.compiled_from import CompiledFrom
from edgeflow.runtime.backends.memory import HostMemory, Memory
from edgeflow.runtime.backends.openvino_extensions import EXTENSIONS
from edgeflow.runtime.backends.openvino_join import Joined, join
from edgeflow.runtime.backends.openvino_planes import turn_planes
from edgeflow.runtime.backends.openvino_store import Kept, find_compiled, keep_compiled

_HEAVY = ("Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul")
_BUILT = {
    "fp32": {"f32"},
    "fp16": {"f16", "f32"},
    "bf16": {"bf16"},
    "typed bf16": {"bf16", "f32"},
    "int8": {"u8", "i8"},
}
"""What OpenVINO calls the precision of a heavy layer; some of a graph's stay at f32 beside bf16 and int8.

A CPU without half arithmetic computes a graph that is itself typed in half precision in single.
"""


_LIES_IN_FILE = "WeightlessCacheAttribute_0"
"""Under which OpenVINO notes where a constant lies in a file."""


class OpenVinoBackend:
    """Compiled models of one core; they share its thread pool, which sleeps when idle.

    On a CPU, models that a bundle keeps for this machine are taken from there.

    Attributes:
        build: the library's version to the commit, which compiled models hold for.
        keeps: what has to be compiled is put into its bundle, for later sessions (`edgeflow build`).

    Args:
        threads: that an inference may use.
        timed: engines time their operators.
        lanes: frames in flight, which share the threads.
    """

    name = "openvino"
    accelerator = ""
    version = ov.__version__.split("-")[0]
    build = ov.__version__
    _device = "CPU"

    def __init__(self, threads: int, timed: bool = False, lanes: int = 1) -> None:
        self.threads = self.loads_at_once = threads
        self.memory: Memory = HostMemory()
        self._core = ov.Core()
        self._core.add_extension(EXTENSIONS)
        if self._device not in self._core.available_devices:
            raise BackendError(
                f"OpenVINO {self.version} finds no {self._device} here, only "
                f"{', '.join(self._core.available_devices)}: install its driver, or run on another device"
            )
        self._timed = timed
        self.keeps = False
        self.joins = self._device == "CPU" and not timed  # branches are not timed apart
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": timed}
        if self._device == "CPU":
            self._config |= {"NUM_STREAMS": lanes, "INFERENCE_NUM_THREADS": threads}

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> OpenVinoEngine:
        """See `Backend.load`."""
        graph = GraphFile(path, tuple(inputs), tuple(outputs))
        source = CompiledFrom((graph,), dims, precision, batch)
        compiled, precision, _ = self._compiled(source, path.name)
        built = _built(compiled, precision, self._device, path.name)
        return OpenVinoEngine(_Requests(compiled), built, self._timed)

    def load_joined(self, graphs: Sequence[GraphFile], dims: Mapping[str, int]) -> list[OpenVinoEngine]:
        """See `JoiningBackend.load_joined`."""
        source = CompiledFrom(tuple(graphs), dims, "fp32", 1)
        compiled, _, routes = self._compiled(source, f"{graphs[0].path.name} and {len(graphs) - 1} more")
        requests = _Requests(compiled)
        return [
            OpenVinoEngine(requests, frozenset({"f32"}), route=(places, np.array(number, np.int32)))
            for number, places in enumerate(routes)
        ]

    def _compiled(self, source: CompiledFrom, what: str) -> tuple[Any, str, tuple[tuple[int, ...], ...]]:
        """The compiled model, its precision, and the places of joined graphs' inputs: as kept, or compiled now."""
        keepable = self._device == "CPU" and not self._timed
        kept = find_compiled(source, self.build) if keepable else None
        if kept is None:
            with self._refusal(what):
                if not self.keeps:
                    joined, precision = self._model(source)
                    return self._compile(joined.model, precision), precision, joined.places
                kept = self._keep(source)
        with self._refusal(f"the model kept for {what} (`edgeflow build --anew` makes another)"):
            return self._restore(kept), kept.precision, kept.places

    def _model(self, source: CompiledFrom) -> tuple[Joined, str]:
        """What is to be compiled, and the precision to compile it for."""
        models = [
            self._read(g.path, g.inputs, g.outputs, source.dims, source.batch, source.precision)
            for g in source.graphs
        ]
        if len(models) > 1:
            return join(models, self.keeps), source.precision
        typed = source.precision == "bf16" and _holds_bf16(models[0])
        return Joined(models[0], ()), "typed bf16" if typed else source.precision

    def _keep(self, source: CompiledFrom) -> Kept:
        """Compile a model, and put it into its bundle without its weights."""
        joined, precision = self._model(source)
        blob = self._compile(joined.model, precision, CACHE_MODE="OPTIMIZE_SIZE").export_model().getvalue()
        return keep_compiled(source, self.build, blob, precision, joined.places)

    def _restore(self, kept: Kept) -> Any:
        """A model as it was compiled before."""
        config = self._settings(kept.precision) | {
            "CACHE_MODE": "OPTIMIZE_SIZE",
            "WEIGHTS_PATH": str(kept.weights),
        }
        blob = ov.Tensor(np.frombuffer(bytearray(kept.blob), np.uint8))
        return self._core.import_model(blob, self._device, config)

    def _read(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        batch: int | None,
        precision: str,
    ) -> ov.Model:
        """A graph file with these inputs and outputs, in this order, at their sizes."""
        model = self._core.read_model(path)
        if WEIGHTS.encode().rpartition(b"/")[2] not in path.read_bytes():
            _hold_weights(model)
        results = [model.output(port.tensor) for port in outputs]
        parameters = {name: given for given in model.get_parameters() for name in given.output(0).names}
        model = ov.Model(results, [parameters[port.tensor] for port in inputs], path.stem)
        shapes = {}
        for port in inputs:
            rows = model.input(port.tensor).partial_shape[0] if batch is None else ov.Dimension(batch)
            sizes = (dims.get(d, -1) if isinstance(d, str) else d for d in port.shape)
            shapes[port.tensor] = ov.PartialShape([rows, *map(ov.Dimension, sizes)])
        model.reshape(shapes)
        if self._device == "CPU" and precision == "fp32":
            turn_planes(model)
        return model

    def _compile(self, model: ov.Model, precision: str, **options: str) -> Any:
        return self._core.compile_model(model, self._device, self._settings(precision) | options)

    def _settings(self, precision: str) -> dict[str, Any]:
        return self._config | {"INFERENCE_PRECISION_HINT": _hint(precision, self._device)}

    @contextmanager
    def _refusal(self, what: str) -> Iterator[None]:
        """OpenVINO's errors as one line.

        Raises:
            BackendError: with its last line.
        """
        try:
            yield
        except EdgeflowError:
            raise
        except Exception as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            raise BackendError(f"OpenVINO {self.version} refuses {what}: {reason}") from error


def _holds_bf16(model: ov.Model) -> bool:
    """Whether the graph itself says what is bfloat16: a hint would take its single-precision parts along."""
    return any(output.element_type == ov.Type.bf16 for node in model.get_ops() for output in node.outputs())


def _hold_weights(model: ov.Model) -> None:
    """Let a model whose file holds all its constants keep them when it is compiled without weights.

    OpenVINO notes where each lies in that file, and would look for it there in the file of weights, which holds others.
    """
    for node in model.get_ops():
        notes = node.get_rt_info()
        if _LIES_IN_FILE in notes:
            del notes[_LIES_IN_FILE]


def _hint(precision: str, device: str) -> str:
    """What layers compute in that no quantisation covers: a CPU computes half in single precision."""
    return {"bf16": "bf16", "fp16": "f32" if device == "CPU" else "f16"}.get(precision, "f32")


def _built(compiled: Any, precision: str, device: str, name: str) -> frozenset[str]:
    """Precisions of the heavy layers, read back from what was built.

    On a CPU that lacks a precision the library takes another one and says nothing.

    Raises:
        PrecisionError: it took another one.
    """
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if device != "CPU" and hint == _hint(precision, device):
        return frozenset((hint,))  # these plugins do not say of each layer what it was built at
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    found = frozenset(
        layer["runtimePrecision"].astype(str) for layer in layers if layer["layerType"].astype(str) in _HEAVY
    )
    other = found - _BUILT[precision] - {"f32"}
    if hint != _hint(precision, device) or other or (found and not found & _BUILT[precision]):
        raise PrecisionError(
            f"OpenVINO built {name} at {', '.join(sorted(found)) or hint} instead of {precision}, which this "
            "CPU or graph does not allow: export with another --precision, or run it on another machine"
        )
    return found


class OpenVinoGpuBackend(OpenVinoBackend):
    """Compiled models on an Intel GPU; the host's arrays are copied to it and back."""

    name = "openvino-gpu"
    _device = "GPU"


class OpenVinoNpuBackend(OpenVinoBackend):
    """Compiled models on an Intel NPU, which wants every shape static."""

    name = "openvino-npu"
    _device = "NPU"


def lacks_gpu() -> str:
    """What OpenVINO lacks here to run engines on an Intel GPU, in words; nothing if it lacks nothing."""
    return _lacks("GPU")


def lacks_npu() -> str:
    """The same of an Intel NPU."""
    return _lacks("NPU")


def _lacks(device: str) -> str:
    found = ov.Core().available_devices
    named = ", ".join(found)
    return "" if device in found else f"needs an Intel {device} and its driver: OpenVINO finds {named}"


class _Requests:
    """A compiled model's inference requests, one per shape, and what their tensors were set to."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self.ports = (*compiled.inputs, *compiled.outputs)
        self.opened: dict[tuple[int, ...], Any] = {}
        self._bound: dict[tuple[int, ...], dict[int, tuple[int, Array]]] = {}

    def infer(self, shape: tuple[int, ...], arrays: Iterable[tuple[int, Array]]) -> None:
        """Read and write arrays in place, given with the positions of their ports; other ports are not used.

        Arrays live on while they are set, since the library may look at one that this run does not use.
        """
        request = self.opened.get(shape)
        if request is None:
            request = self.opened[shape] = self.compiled.create_infer_request()
            self._bound[shape] = {}
        bound = self._bound[shape]
        for i, array in arrays:
            place = array.ctypes.data
            if i not in bound or bound[i][0] != place:
                request.set_tensor(self.ports[i], _tensor(self.ports[i], array))
                bound[i] = place, array
        request.infer()


class OpenVinoEngine:
    """One compiled model, or one of several that were joined; arrays are used in place.

    Attributes:
        layer_precisions: OpenVINO's names of the precisions that its heavy layers were built at.

    Args:
        requests: of the compiled model, whose inputs and outputs stand in the order that `run` gets them.
        layer_precisions: as above.
        timed: it times its operators.
        route: of a joined model: the positions of its inputs among all, and its number.
    """

    def __init__(
        self,
        requests: _Requests,
        layer_precisions: frozenset[str],
        timed: bool = False,
        route: tuple[tuple[int, ...], Array] | None = None,
    ) -> None:
        self.layer_precisions = layer_precisions
        self._requests, self._timed, self._route = requests, timed, route
        self._runs = 0

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`."""
        if self._route is None:
            self._requests.infer(inputs[0].shape, enumerate((*inputs, *outputs)))
        else:
            places, number = self._route
            last = len(self._requests.compiled.inputs) - 1
            made = range(last + 1, last + 1 + len(outputs))
            arrays = zip((*places, last, *made), (*inputs, number, *outputs), strict=True)
            self._requests.infer((), arrays)
        self._runs += 1

    def twin(self, twins: dict[int, object]) -> OpenVinoEngine:
        """See `SharedEngine.twin`."""
        requests = twins.setdefault(id(self._requests), _Requests(self._requests.compiled))
        twin = copy(self)
        twin._requests = cast(_Requests, requests)
        return twin

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`."""
        opened = self._requests.opened
        if not self._timed or not opened:
            return ()
        spent: defaultdict[str, float] = defaultdict(float)
        for node in next(iter(opened.values())).profiling_info:
            # The plugin keeps one mean per node over all runs of all requests.
            spent[node.node_type] += node.real_time.total_seconds() * 1e3 * self._runs
        return tuple(OperatorTime(kind, ms) for kind, ms in spent.items())


def _tensor(port: Any, array: Array) -> Any:
    """The array as a tensor of the port's type, in place; bfloat16 lies in numpy's arrays as uint16."""
    if port.element_type == ov.Type.bf16:
        return ov.Tensor(array, array.shape, ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)
