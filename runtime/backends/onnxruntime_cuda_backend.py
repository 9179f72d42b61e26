"""ONNX Runtime on an NVIDIA GPU, with tensors that stay in its memory between engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.backends.device_memory import DeviceMemory
from edgeflow.targets.cudart import Cudart
from edgeflow.targets.nvidia import find


class OnnxRuntimeCudaBackend:
    """Sessions of the CUDA provider, all on one stream.

    Args:
        threads: of the host, for what the provider leaves to it.
        timed: wait for every engine, so that its time is its own.

    Raises:
        BackendError: this ONNX Runtime has no CUDA provider, or there is no device.
    """

    name = "onnxruntime-cuda"
    version = ort.__version__
    loads_at_once = 1
    joins = False

    def __init__(self, threads: int, timed: bool = False, cudart: Cudart | None = None) -> None:
        self.threads, self._timed = threads, timed
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise BackendError(
                "this ONNX Runtime has no CUDA provider: pip uninstall onnxruntime, then pip install onnxruntime-gpu"
            )
        runtime = cudart or Cudart()
        self.accelerator = find(runtime).words
        self.memory = DeviceMemory(runtime, runtime.stream())

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> OnnxRuntimeCudaEngine:
        """See `Backend.load`. TF32 is off, so that fp32 means fp32."""
        if precision not in ("fp32", "fp16"):
            raise BackendError(
                f"ONNX Runtime's CUDA provider is not used at {precision}: export with --precision fp16 or fp32"
            )
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        for name, size in {**dims, **({} if batch is None else {"batch": batch})}.items():
            options.add_free_dimension_override_by_name(name, size)
        provider = {
            "user_compute_stream": str(self.memory.stream),
            "use_tf32": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        try:
            session = ort.InferenceSession(
                str(path), options, providers=[("CUDAExecutionProvider", provider)]
            )
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise BackendError(f"ONNX Runtime {self.version} refuses {path.name}: {reason}") from error
        if session.get_providers()[0] != "CUDAExecutionProvider":
            raise BackendError(
                f"ONNX Runtime {self.version} runs {path.name} on the CPU: its CUDA provider did not start; "
                "do CUDA and cuDNN match this onnxruntime-gpu?"
            )
        return OnnxRuntimeCudaEngine(session, inputs, outputs, self.memory, self._timed)


class OnnxRuntimeCudaEngine:
    """One session; arrays in device memory are bound in place, and a binding is kept per set of arrays."""

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        memory: DeviceMemory,
        timed: bool,
    ) -> None:
        self._session, self._memory, self._timed = session, memory, timed
        self._inputs = [port.tensor for port in inputs]
        self._outputs = [port.tensor for port in outputs]
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._bindings: dict[tuple[int, ...], ort.IOBinding] = {}

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`. Returns when the work is enqueued, unless it is timed."""
        key = (*inputs[0].shape, *(array.address for array in (*inputs, *outputs)))
        binding = self._bindings.get(key)
        if binding is None:
            if len(self._bindings) > 64:
                self._bindings.clear()
            binding = self._bindings[key] = self._bind(inputs, outputs)
        self._session.run_with_iobinding(binding, self._options)
        if self._timed:
            self._memory.cudart.synchronise(self._memory.stream)

    def operators(self) -> tuple[OperatorTime, ...]:
        """See `Engine.operators`; the CUDA provider's are not told apart."""
        return ()

    def _bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> ort.IOBinding:
        binding = self._session.io_binding()
        for name, array in zip(self._inputs, inputs, strict=True):
            binding.bind_input(name, "cuda", 0, array.dtype, array.shape, array.address)
        for name, array in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cuda", 0, array.dtype, array.shape, array.address)
        return binding
