"""A double of the TensorRT Python API, written for these tests: only what edgeflow calls.

An "engine" is the ONNX model with its weights; it is run by ONNX Runtime, or by OpenVINO where it holds
bfloat16, on the host's memory, at the very addresses that a context was given. The double keeps TensorRT's rules: named tensors, static profiles, memory that
the user manages, work that runs in stream order and may be captured. `EDGEFLOW_TENSORRT_FAULT` makes it fail.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

__version__ = os.environ.get("EDGEFLOW_TENSORRT_VERSION", "10.3.0")
BFLOAT16 = onnx.TensorProto.BFLOAT16
_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16}
_TYPES[BFLOAT16] = np.uint16
_WORDS = {1: "FP32", 2: "UINT8", 3: "Int8", 10: "FP16", BFLOAT16: "BF16"}


def _fault() -> str:
    return os.environ.get("EDGEFLOW_TENSORRT_FAULT", "")


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self):
        self.initialised = True


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 0 if __version__.startswith("11") else 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ProfilingVerbosity(enum.Enum):
    DETAILED = 2


class LayerInformationFormat(enum.Enum):
    JSON = 1


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class IProfiler:
    def __init__(self):
        pass


class _Tensor:
    def __init__(self, name):
        self.name = name


class _Network:
    def __init__(self, flags):
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED), "weakly typed"
        self.model = None

    @property
    def num_inputs(self):
        return len(self.model.graph.input)

    def get_input(self, index):
        return _Tensor(self.model.graph.input[index].name)

    @property
    def num_outputs(self):
        return len(self.model.graph.output)

    def get_output(self, index):
        return _Tensor(self.model.graph.output[index].name)

    def unmark_output(self, tensor):
        outputs = self.model.graph.output
        outputs.remove(next(info for info in outputs if info.name == tensor.name))


class _Cache:
    def __init__(self, data):
        self.data = bytes(data)

    def serialize(self):
        return self.data or b"measured"


class _Config:
    def __init__(self):
        self.profiles, self.cleared, self.pools, self.cache = [], set(), {}, None
        self.profiling_verbosity = self.max_aux_streams = None

    def set_memory_pool_limit(self, pool, size):
        assert size > 0
        self.pools[pool] = size

    def clear_flag(self, flag):
        self.cleared.add(flag)

    def create_timing_cache(self, data):
        return None if data == b"garbage" else _Cache(data)

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache.data == b"of another device":
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1


class _Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, low, best, high):
        assert low == best == high, "a static profile"
        self.shapes[name] = tuple(low)


def _start(logger, fault):
    """What the bindings make of a null pointer is a TypeError; TensorRT has logged why."""
    assert logger.initialised
    if _fault() == fault:
        logger.log(ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")


class Builder:
    def __init__(self, logger):
        _start(logger, "builder")
        self.logger = logger

    def create_network(self, flags=0):
        return _Network(flags)

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        return _Profile()

    def build_serialized_network(self, network, config):
        if _fault() == "build":
            self.logger.log(ILogger.Severity.ERROR, "Could not find any implementation for node Conv_0")
            return None
        if _fault() == "grid_sample refused" and "GridSample" in {
            n.op_type for n in network.model.graph.node
        }:
            return None
        if _fault() in ("killed", "segv"):
            os.kill(os.getpid(), signal.SIGKILL if _fault() == "killed" else signal.SIGSEGV)
        if _fault() == "skipped":
            self.logger.log(
                ILogger.Severity.WARNING,
                "Tactic Device request: 548MB Available: 530MB. Device memory is insufficient to use tactic.",
            )
        if _fault() == "slow":
            time.sleep(30)
        log = os.environ.get("EDGEFLOW_TENSORRT_LOG")
        if log:
            with open(log, "a") as file:
                file.write(f"{len(config.profiles)} {config.cache.data!r}\n")
        head = json.dumps({"profiles": config.profiles}).encode()
        body = b"weak" if _fault() == "precision" else b"typed"
        return b"\n".join([head, body, network.model.SerializeToString()])


class _Error:
    def node_operator(self):
        return "Mystery"

    def node_name(self):
        return "0/Mystery_3"

    def desc(self):
        return "no importer registered for op"


class OnnxParser:
    def __init__(self, network, logger):
        self.network = network
        self.num_errors = 1 if _fault() == "parser" else 0

    def get_error(self, index):
        return _Error()

    def parse_from_file(self, path):
        if self.num_errors:
            return False
        self.network.model = onnx.load(path)
        weights = Path(path).with_name("weights.bin")
        assert weights.is_file() or not self.network.model.graph.initializer
        return True


class Runtime:
    def __init__(self, logger):
        _start(logger, "runtime")
        self.logger = logger

    def deserialize_cuda_engine(self, data):
        if _fault() == "deserialise" or not bytes(data).startswith(b"{"):
            self.logger.log(ILogger.Severity.ERROR, "version mismatch")
            return None
        return _Engine(bytes(data))


class _Engine:
    def __init__(self, data):
        head, self.kind, model = data.split(b"\n", 2)
        self.profiles = [
            {name: tuple(shape) for name, shape in profile.items()}
            for profile in json.loads(head)["profiles"]
        ]
        self.model = onnx.load_from_string(model)
        self._session, self._bytes = None, model
        self.inputs, self.outputs = list(self.model.graph.input), list(self.model.graph.output)
        self.device_memory_size_v2 = 4096

    def infer(self, feeds):
        """The outputs, in order; bfloat16 is uint16 on both sides."""
        kinds = {self.elem(info.name) for info in (*self.inputs, *self.outputs)}
        kinds |= {tensor.data_type for tensor in self.model.graph.initializer}
        return self._infer_bfloat16(feeds) if BFLOAT16 in kinds else self.session.run(None, feeds)

    def _infer_bfloat16(self, feeds):
        import openvino as ov  # which takes a second, in every process that builds an engine

        if self._session is None:
            core, hints = ov.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
            compiled = core.compile_model(core.read_model(self._bytes), "CPU", hints)
            self._session = compiled.create_infer_request()
        for name, array in feeds.items():
            port = self._session.model_inputs[[i.name for i in self.inputs].index(name)]
            self._session.set_tensor(port, ov.Tensor(array, array.shape, port.element_type))
        self._session.infer()
        return [
            self._session.get_tensor(port).data.view(_TYPES[self.elem(info.name)])
            for port, info in zip(self._session.model_outputs, self.outputs, strict=True)
        ]

    @property
    def session(self):
        """Made when it first runs, on the thread pool that sessions of this process share."""
        if self._session is None:
            from edgeflow.runtime.backends import open_backend

            open_backend("onnxruntime")
            options = ort.SessionOptions()
            self._session = ort.InferenceSession(self._bytes, options, providers=["CPUExecutionProvider"])
        return self._session

    def holds(self, kind):
        return any(node.op_type == kind for node in self.model.graph.node)

    @property
    def num_io_tensors(self):
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index):
        return [*self.inputs, *self.outputs][index].name

    def elem(self, name):
        return next(i.type.tensor_type.elem_type for i in (*self.inputs, *self.outputs) if i.name == name)

    def create_execution_context(self, strategy):
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return None if _fault() == "context" else _Context(self)

    def create_engine_inspector(self):
        return self

    def get_engine_information(self, form):
        assert form is LayerInformationFormat.JSON
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        known = {i.name: i.type.tensor_type.elem_type for i in (*inferred.value_info, *inferred.output)}
        layers = []
        for node in self.model.graph.node:
            word = "FP32" if self.kind == b"weak" else _WORDS.get(known.get(node.output[0], 1), "Int64")
            text = (
                {"DataType": word}
                if __version__.startswith("11")
                else {"Format/Datatype": f"Row-major linear {word} format"}
            )
            layers.append({"Name": node.name, "Outputs": [{"Name": node.output[0], **text}]})
        return json.dumps({"Layers": layers})


ADDRESSES = set()
"""Every address that a context was given."""


class _Context:
    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.memory, self.profile = engine, {}, {}, None, None
        self.profiler = None

    def set_device_memory(self, memory, size):
        assert memory and size >= self.engine.device_memory_size_v2
        self.memory = memory

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile
        return True

    def set_input_shape(self, name, shape):
        assert tuple(shape) == self.engine.profiles[self.profile][name], "a shape that no profile has"
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        symbols = {}
        for info in self.engine.inputs:
            for dim, size in zip(info.type.tensor_type.shape.dim, self.shapes[info.name], strict=True):
                symbols[dim.dim_param] = size
        info = next(i for i in self.engine.outputs if i.name == name)
        return tuple(d.dim_value or symbols[d.dim_param] for d in info.type.tensor_type.shape.dim)

    def set_tensor_address(self, name, address):
        if _fault() == "address":
            return False
        self.addresses[name] = address
        ADDRESSES.add(address)
        return address % 256 == 0

    def execute_async_v3(self, stream):
        assert self.memory, "no activation memory"
        names = [info.name for info in (*self.engine.inputs, *self.engine.outputs)]
        assert all(name in self.addresses for name in names), "a tensor without an address"
        if _fault() == "capture" and STREAMS.capturing(stream):
            return False
        engine, shapes, addresses, profiler = (
            self.engine,
            dict(self.shapes),
            dict(self.addresses),
            self.profiler,
        )

        def work():
            time.sleep(STREAMS.slow)
            feeds = {n: _array(addresses[n], shapes[n], _TYPES[engine.elem(n)]).copy() for n in shapes}
            off = 0.5 if _fault() == "grid_sample" and engine.holds("GridSample") else 0
            for info, made in zip(engine.outputs, engine.infer(feeds), strict=True):
                _array(addresses[info.name], made.shape, made.dtype)[...] = made + made.dtype.type(off)
            if profiler:
                profiler.report_layer_time("Conv_0", 0.5)

        STREAMS.enqueue(stream, work)
        return True


def _array(address, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = (ctypes.c_uint8 * size).from_address(address)
    return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)


class _Registry:
    """Refuses a library whose plugins are there already, as TensorRT does."""

    def __init__(self):
        self.creators = set()

    def get_creator(self, type, version, plugin_namespace=""):
        return (type, version) if (version, plugin_namespace) in self.creators else None

    def load_library(self, path):
        version = re.search(r"-(\w+)-trt|$", path)[1] or "1"
        if _fault() == "plugins" or (version, "edgeflow") in self.creators:
            return None
        self.creators.add((version, "edgeflow"))
        return path


_REGISTRY = _Registry()


def get_plugin_registry():
    return _REGISTRY


def init_libnvinfer_plugins(logger, namespace):
    assert logger.initialised
    return True


class _Streams:
    """Work per stream, run when somebody waits; while a stream is captured, it is recorded instead."""

    def __init__(self):
        self.queues, self.recording, self.slow = {}, {}, 0.0

    def capturing(self, stream):
        return stream in self.recording

    def enqueue(self, stream, work):
        if stream in self.recording:
            self.recording[stream].append(work)
        else:
            self.queues.setdefault(stream, []).append(work)

    def run(self, stream):
        queue = self.queues.pop(stream, [])
        for work in queue:
            work()


STREAMS = _Streams()
