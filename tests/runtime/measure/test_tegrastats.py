"""Lines of tegrastats: written like those in NVIDIA's documentation of the program and those that users show; none was recorded on a board of ours."""

import os
import sys

import pytest

from edgeflow.runtime.measure.energy import of_calls
from edgeflow.runtime.measure.tegrastats import machine_sensors, parsed

JETPACK_4 = (
    "RAM 1820/3956MB (lfb 210x4MB) SWAP 12/1978MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [24%@1224,15%@1224,off,off] "
    "EMC_FREQ 4%@1600 GR3D_FREQ 38%@921 APE 25 PLL@38C CPU@41.5C PMIC@100C GPU@39C AO@45.5C thermal@40.25C "
    "POM_5V_IN 4545/3120 POM_5V_GPU 1210/640 POM_5V_CPU 848/512"
)
JETPACK_5 = (
    "11-28-2026 10:15:00 RAM 3242/30592MB (lfb 5420x4MB) SWAP 0/15296MB (cached 0MB) CPU [12%@1510,0%@1510,off,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 61%@[905,907] VIC_FREQ 729 APE 174 CV0@-256C CPU@47.6C Tboard@37C SOC2@44.5C tj@47.6C "
    "VDD_GPU_SOC 4808mW/4808mW VDD_CPU_CV 801mW/790mW VIN_SYS_5V0 4032mW/4000mW NC 0mW/0mW"
)
JETPACK_6 = (
    "11-28-2026 10:15:00 RAM 2877/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU [5%@729,6%@1113] EMC_FREQ 2%@2133 "
    "GR3D_FREQ 0%@[305] NVDEC off NVJPG off VIC off OFA off APE 200 cpu@48.5C/50.1C soc2@47.656C/48C tj@49C/51.2C "
    "VDD_IN 5080mW/5072mW/6300mW VDD_CPU_GPU_CV 1012mW/1004mW/2100mW VDD_SOC 1494mW/1490mW/1500mW"
)


def test_jetpack_4():
    found = parsed(JETPACK_4)
    assert found.watts == {"POM_5V_IN": 4.545, "POM_5V_GPU": 1.21, "POM_5V_CPU": 0.848}
    assert found.celsius["CPU"] == 41.5 and found.celsius["thermal"] == 40.25
    assert found.megahertz == {"cpu": 1224, "gpu": 921}


def test_jetpack_5():
    found = parsed(JETPACK_5)
    assert found.watts == {"VDD_GPU_SOC": 4.808, "VDD_CPU_CV": 0.801, "VIN_SYS_5V0": 4.032, "NC": 0}
    assert found.celsius == {"CPU": 47.6, "Tboard": 37, "SOC2": 44.5, "tj": 47.6}  # CV0 is off
    assert found.megahertz == {"cpu": 1510, "gpu": 905}


def test_jetpack_6():
    found = parsed(JETPACK_6)
    assert found.watts == {"VDD_IN": 5.08, "VDD_CPU_GPU_CV": 1.012, "VDD_SOC": 1.494}
    assert found.celsius == {"cpu": 48.5, "soc2": 47.656, "tj": 49}
    assert found.megahertz == {"cpu": 921, "gpu": 305}


@pytest.mark.parametrize(
    "line", ["", "tegrastats: not root\n", "RAM 1/2MB", "CPU [off,off] GR3D_FREQ 0%", "\x00@C"]
)
def test_lines_that_tell_nothing(line):
    found = parsed(line)
    assert not found.tells_power and not found.celsius and not found.megahertz


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program of that name on the path, which prints a line again and again."""

    def put(line):
        file = tmp_path / "bin" / "tegrastats"
        file.parent.mkdir()
        body = (
            f"import time\nwhile True:\n    print({line!r}, flush=True)\n    time.sleep(0.02)\n"
            if line
            else ""
        )
        file.write_text(f"#!{sys.executable}\n{body}")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{file.parent}{os.pathsep}{os.environ['PATH']}")

    return put


def test_the_program_is_read_where_sysfs_tells_nothing(program, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.measure.energy.SECONDS", 0.3)
    program(JETPACK_6)
    with machine_sensors(tmp_path) as sensors:
        found = of_calls(lambda: None, [()], sensors)
    assert found.energy.watts["VDD_IN"] == pytest.approx(5.08)


def test_a_program_that_says_nothing_and_none_at_all(program, tmp_path):
    with machine_sensors(tmp_path) as sensors:
        assert not sensors().tells_power
    program("")
    with machine_sensors(tmp_path) as sensors:
        assert not sensors().tells_power
