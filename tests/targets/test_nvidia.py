"""What is read of a Jetson, from what its files and commands print."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeflow.ir.errors import BackendError
from edgeflow.targets import nvidia
from edgeflow.targets.cudart import Cudart
from edgeflow.targets.engine_store import device_key
from edgeflow.targets.nvidia import clocks, jetpack_of, l4t_release, power_mode


@pytest.mark.parametrize(
    ("text", "release", "jetpack"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64", "36.4.3", "6.2"),
        ("# R36 (release), REVISION: 4.0, GCID: 37537400", "36.4.0", "6.1"),
        ("# R36 (release), REVISION: 5.0, GCID: 1", "36.5.0", "6.2.2"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0", "7.0"),
        ("# R39 (release), REVISION: 2.0, GCID: 1", "39.2.0", "7.2"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "99.1.0", ""),
        ("something else", "", ""),
    ],
)
def test_jetpack_from_the_release_file(text, release, jetpack):
    assert l4t_release(text) == release and jetpack_of(release) == jetpack


def test_power_mode_and_clocks():
    assert power_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W\n2\n") == "MODE_30W"
    assert power_mode("") == ""
    assert clocks("GPU MinFreq=306000000 MaxFreq=1300500000 CurrentFreq=306000000") == "dynamic"
    assert clocks("GPU MinFreq=1300500000 MaxFreq=1300500000 CurrentFreq=1300500000") == "locked"
    assert clocks("cpu0: Online=1") == ""


def test_memory_that_a_board_can_have_counts_the_cache(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemFree: 100000 kB\nMemAvailable: 5000000 kB\n")
    monkeypatch.setattr(nvidia, "MEMINFO", meminfo)
    board = SimpleNamespace(integrated=True, memory=lambda: (100_000 << 10, 8_000_000 << 10))
    card = SimpleNamespace(integrated=False, memory=lambda: (100_000 << 10, 8_000_000 << 10))
    assert nvidia.free_bytes(board) == 5_000_000 << 10
    assert nvidia.free_bytes(card) == 100_000 << 10


def test_a_measurement_names_the_device_and_its_mode():
    orin = nvidia.Nvidia("Orin", "8.7", "12.6", "12.6", True, 1, 2, power_mode="MAXN", clocks="locked")
    assert orin.words == "Orin, sm_87, MAXN, locked"


def test_a_key_names_device_and_versions():
    key = device_key("NVIDIA Jetson AGX Orin Developer Kit", "8.7", {"tensorrt": "10.3.0", "cuda": "12.6"})
    assert key == "nvidia-jetson-agx-orin-developer-kit-sm8.7-cuda12.6-tensorrt10.3.0"


def test_no_cuda_library_is_an_error_that_says_what_to_do():
    with pytest.raises(BackendError, match=r"was not found .tried libnowhere.so.: install CUDA"):
        Cudart("libnowhere.so")
