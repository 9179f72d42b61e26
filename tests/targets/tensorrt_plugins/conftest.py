"""Libraries of the plugins' kernels: run on the CPU, and compiled for the GPU where there is one."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for `kernel_calls` and `definitions`

from kernel_calls import DeviceMemory, HostMemory, Kernels, compile_for_cpu, compile_for_gpu


@pytest.fixture(scope="session")
def cpu_library(tmp_path_factory):
    if not shutil.which("g++"):
        pytest.skip("no g++, which compiles the kernels for the CPU")
    return compile_for_cpu(tmp_path_factory.mktemp("kernels_on_cpu"))


@pytest.fixture(scope="session")
def gpu_library(tmp_path_factory):
    if not torch.cuda.is_available() or not shutil.which("nvcc"):
        pytest.skip("no CUDA device and nvcc on this machine: the kernels were only run on the CPU")
    return compile_for_gpu(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session", params=["on_cpu", "on_gpu"])
def kernels(request):
    """The kernels, wherever they can run."""
    if request.param == "on_cpu":
        return Kernels(request.getfixturevalue("cpu_library"), HostMemory)
    return Kernels(request.getfixturevalue("gpu_library"), DeviceMemory)


@pytest.fixture(params=os.environ.get("EDGEFLOW_TENSORRT_HEADERS", "").split(os.pathsep))
def headers(request):
    """Each folder of TensorRT headers that EDGEFLOW_TENSORRT_HEADERS names."""
    if not request.param:
        pytest.skip(
            "EDGEFLOW_TENSORRT_HEADERS names no folders of TensorRT headers: the plugin shells were not checked"
        )
    return Path(request.param)
