"""The plugin shells against TensorRT's headers: compiled, driven by a test binary, without its libraries."""

import shutil
import subprocess
from pathlib import Path

import pytest
from kernel_calls import HERE, PLUGINS


@pytest.fixture(scope="module")
def cuda_headers():
    nvcc = shutil.which("nvcc")
    if not nvcc:
        pytest.skip("no nvcc on the PATH, beside which the CUDA headers are that TensorRT's include")
    dry = subprocess.run(
        [nvcc, "--dryrun", "-E", "-x", "cu", "/dev/null"], capture_output=True, text=True, check=True
    )
    top = next(line.split("TOP=")[1] for line in dry.stderr.splitlines() if "TOP=" in line)
    return Path(top) / "include"


def test_the_shells_do_what_tensorrt_asks_for(headers, cuda_headers, cpu_library, tmp_path):
    binary = tmp_path / "shells"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{PLUGINS}"]
    flags += ["-isystem", headers, "-isystem", cuda_headers]
    sources = [*sorted(PLUGINS.glob("*.cpp")), HERE / "shells.cpp"]
    link = [cpu_library, f"-Wl,-rpath,{cpu_library.parent}"]
    subprocess.run(["g++", *flags, *sources, *link, "-o", binary], check=True)
    done = subprocess.run([binary], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout
