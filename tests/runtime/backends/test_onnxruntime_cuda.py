"""ONNX Runtime's CUDA backend, by a double whose device is the host: sessions run on the CPU provider, in stream order.

What it proves is edgeflow's side: what is bound where, in which order work is enqueued, and what is refused.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
from host_cudart import HostCudart

from edgeflow.ir.errors import BackendError
from edgeflow.runtime import Session
from edgeflow.runtime.backends import onnxruntime_cuda_backend, open_backend


class Streams:
    """Work that is run when somebody waits."""

    def __init__(self):
        self.work, self.recording = [], {}

    def enqueue(self, stream, work):
        self.work.append(work)

    def run(self, stream):
        work, self.work = self.work, []
        for one in work:
            one()


class Binding:
    """Device 0 of `cuda` is the host."""

    def __init__(self, binding):
        self.inner = binding

    def bind_input(self, name, device, number, dtype, shape, address):
        assert (device, number) == ("cuda", 0)
        self.inner.bind_input(name, "cpu", 0, dtype, shape, address)

    def bind_output(self, name, device, number, dtype, shape, address):
        assert (device, number) == ("cuda", 0)
        self.inner.bind_output(name, "cpu", 0, dtype, shape, address)


@pytest.fixture
def cuda(monkeypatch):
    """A machine whose ONNX Runtime has the CUDA provider."""
    streams = Streams()
    cudart = HostCudart(streams)
    started = []
    real = ort.InferenceSession
    open_backend("onnxruntime")

    class CudaSession:
        """On the CPU provider; enqueues its runs."""

        def __init__(self, path, options, providers):
            ((name, settings),) = providers
            assert name == "CUDAExecutionProvider" and settings["user_compute_stream"] == "77"
            assert settings["use_tf32"] == "0"
            self.inner = real(path, options, providers=["CPUExecutionProvider"])
            started.append(path)

        def get_providers(self):
            return ["CUDAExecutionProvider"]

        def io_binding(self):
            return Binding(self.inner.io_binding())

        def run_with_iobinding(self, binding, options):
            streams.enqueue(77, lambda: self.inner.run_with_iobinding(binding.inner))

    monkeypatch.setattr(onnxruntime_cuda_backend, "Cudart", lambda: cudart)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])

    def start(path, options, providers, **more):
        own = providers == ["CPUExecutionProvider"]
        return (
            real(path, options, providers=providers, **more) if own else CudaSession(path, options, providers)
        )

    monkeypatch.setattr(ort, "InferenceSession", start)
    yield SimpleNamespace(started=started, cudart=cudart, session=CudaSession)
    streams.run(77)


@pytest.mark.parametrize(
    ("name", "size"), [("Patchwork", (40, 56)), ("Shortcut", (16, 24)), ("Patchwork", (12, 14))]
)
def test_frames_equal_those_of_the_cpu(cuda, small_bundle, name, size):
    _, compiled = small_bundle(name, "chained")
    random = np.random.default_rng(3)
    frames = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(5)]
    host, device = (Session(compiled.path, library=name) for name in ("onnxruntime", "onnxruntime-cuda"))
    made, wanted = [device.run(frame) for frame in frames], [host.run(frame) for frame in frames]
    assert cuda.started and cuda.cudart.copies
    for ours, theirs in zip(made, wanted, strict=True):
        assert ours.trace.choices == theirs.trace.choices
        np.testing.assert_array_equal(ours.outputs[0], theirs.outputs[0])


def test_a_cpu_build_is_refused(small_bundle):
    _, compiled = small_bundle("Shortcut", "chained")
    with pytest.raises(
        BackendError, match="has no CUDA provider: pip uninstall onnxruntime, then pip install"
    ):
        Session(compiled.path, library="onnxruntime-cuda")


def test_a_provider_that_did_not_start_is_not_taken_for_one_that_did(cuda, small_bundle, monkeypatch):
    _, compiled = small_bundle("Shortcut", "chained")
    monkeypatch.setattr(cuda.session, "get_providers", lambda self: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="on the CPU: its CUDA provider did not start"):
        Session(compiled.path, library="onnxruntime-cuda").prepare(16, 24)
