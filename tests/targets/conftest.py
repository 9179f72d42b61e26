"""A machine with TensorRT, played by doubles: the host's memory is the device's, ONNX Runtime the engines."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

DOUBLES = Path(__file__).parents[1] / "doubles"
HOLDERS = (
    "plugin_registry",
    "tensorrt_backend",
    "tensorrt_builder",
    "tensorrt_bundle",
    "tensorrt_engine",
    "tensorrt_log",
    "tensorrt_probe",
    "tensorrt_reader",
)
"""Modules that import the double, or that hold a name of one that does."""


@pytest.fixture(scope="session")
def tensorrt_bundle(tmp_path_factory):
    """A function from the name of a small model, and a precision, to its bundle for desktop-gpu, not built yet."""
    from kept_bundles import compile_kept
    from routed_models import small

    from edgeflow.targets import load

    folder = tmp_path_factory.mktemp("tensorrt")
    made = {}

    def get(name, precision="fp16"):
        if (name, precision) not in made:
            path = folder / f"{name}-{precision}.edgeflow"
            target = load("desktop-gpu").at(precision)
            compile_kept(small(name), target, path, reference={"model": name}, strategy="chained")
            made[name, precision] = path
        return made[name, precision]

    return get


@pytest.fixture
def machine(monkeypatch):
    """The double of a machine: its CUDA runtime, and a way to set faults."""
    _forget()
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DOUBLES), *sys.path]))
    tensorrt = import_module("tensorrt")
    cudart = import_module("host_cudart").HostCudart(tensorrt.STREAMS)
    for name in ("edgeflow.runtime.backends.tensorrt_backend", "edgeflow.targets.nvidia"):
        monkeypatch.setattr(import_module(name), "Cudart", lambda: cudart)
    yield SimpleNamespace(
        cudart=cudart,
        fault=lambda what: monkeypatch.setenv("EDGEFLOW_TENSORRT_FAULT", what),
        tensorrt=tensorrt,
    )
    tensorrt.STREAMS.queues.clear()
    _forget()


def _forget():
    """Drop the double, and the modules that imported it, also from the packages that hold them."""
    for name in [n for n in sys.modules if n == "tensorrt" or n.rpartition(".")[2] in HOLDERS]:
        parent, _, own = name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(own, None)
        del sys.modules[name]
