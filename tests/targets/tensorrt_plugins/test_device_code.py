"""The kernels compile for GPUs that are not here: the oldest, Orin and Thor; `compile_everywhere.sh` does all."""

import shutil
import subprocess

import pytest
from kernel_calls import HERE


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc on the PATH: device code was not compiled")
def test_device_code_compiles():
    architectures = ["75", "87", "110"]
    command = [HERE / "compile_everywhere.sh", *architectures]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("compiled for: 75 87 110\n")
