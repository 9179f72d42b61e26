"""Sensors and energy, by made trees of sysfs: no machine of ours lets these be read, and a Jetson's are as its guide says."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.runtime.measure.energy import Meter, between, in_joules, of_calls
from edgeflow.runtime.measure.sensors import Reading, read


@pytest.fixture
def sysfs(tmp_path):
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


def test_a_machine_that_tells_nothing(tmp_path):
    found = read(tmp_path)
    assert not found.tells_power and not found.celsius and not found.megahertz and not found.throttled


def test_counters_of_an_x86_processor(sysfs):
    root = sysfs(
        {
            "class/powercap/intel-rapl:0/name": "package-0",
            "class/powercap/intel-rapl:0/energy_uj": 12_500_000,
            "class/powercap/intel-rapl:0/max_energy_range_uj": 262_143_328_850,
            "class/powercap/intel-rapl:0:0/name": "core",
            "class/powercap/intel-rapl:0:0/energy_uj": 4_000_000,
            "class/powercap/intel-rapl:0:0/max_energy_range_uj": 262_143_328_850,
            "class/thermal/thermal_zone0/type": "x86_pkg_temp",
            "class/thermal/thermal_zone0/temp": 61000,
            "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 3_000_000,
            "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": 2_000_000,
            "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": 3,
        }
    )
    found = read(root)
    assert found.joules == {"package-0": 12.5} and found.turns == {"package-0": pytest.approx(262143.32885)}
    assert found.celsius == {"x86_pkg_temp": 61} and found.megahertz == {"cpu": 2500}
    assert found.throttled == {"cpu heat": 3} and found.tells_power


def test_rails_of_a_jetson(sysfs):
    root = sysfs(
        {
            "class/hwmon/hwmon1/name": "ina3221",
            "class/hwmon/hwmon1/in1_label": "VDD_GPU_SOC",
            "class/hwmon/hwmon1/in1_input": 5000,
            "class/hwmon/hwmon1/curr1_input": 1500,
            "class/hwmon/hwmon1/in2_label": "VDD_CPU_CV",
            "class/hwmon/hwmon1/in2_input": 5000,
            "class/hwmon/hwmon1/curr2_input": 400,
            "class/hwmon/hwmon1/in7_label": "Sum of shunt voltages",
            "class/hwmon/hwmon1/in7_input": 12,
            "class/hwmon/hwmon2/name": "nvme",
            "class/hwmon/hwmon3/oc3_event_cnt": 7,
            "class/devfreq/17000000.gpu/cur_freq": 918_000_000,
            "class/thermal/thermal_zone1/type": "gpu-thermal",
            "class/thermal/thermal_zone1/temp": 48250,
            "class/thermal/thermal_zone2/type": "cv0-thermal",
            "class/thermal/thermal_zone2/temp": "",
        }
    )
    found = read(root)
    assert found.watts == {"VDD_GPU_SOC": 7.5, "VDD_CPU_CV": 2.0}
    assert found.celsius == {"gpu-thermal": 48.25} and found.megahertz == {"gpu": 918}
    assert found.throttled == {"oc3": 7} and not found.joules


def reading(joules=0.0, watts=0.0, celsius=50.0, throttled=0):
    return Reading(
        {"p": joules}, {"p": 100.0}, {"r": watts}, {"z": celsius}, {"cpu": 1000}, {"oc": throttled}
    )


def test_energy_of_counters_that_begin_anew_and_of_rails():
    found = between(
        [0.0, 1.0, 3.0],
        [reading(95, 4, 40, 2), reading(5, 8, 70, 2), reading(25, 0, 60, 3)],
    )
    assert found.joules == {"p": 30.0, "r": 4 * 1 + 8 * 2}
    assert found.seconds == 3 and found.watts["p"] == 10
    assert found.celsius == {"z": 70} and found.throttled == {"oc": 1}


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 50)), min_size=1, max_size=20))
def test_energy_is_the_sum_of_its_parts(steps):
    times, levels = [0.0], [0.0]
    for seconds, joules in steps:
        times.append(times[-1] + seconds)
        levels.append(levels[-1] + joules)
    readings = [reading(level % 100) for level in levels]
    assert between(times, readings).joules["p"] == pytest.approx(levels[-1], abs=1e-6)


def test_a_meter_reads_while_its_body_runs():
    from time import sleep

    numbers = count()
    with Meter(lambda: reading(joules=next(numbers))) as meter:
        sleep(0.35)
    assert meter.energy.seconds > 0.3
    assert meter.energy.joules["p"] == next(numbers) - 1 >= 3


def test_energy_of_a_call(monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.measure.energy.SECONDS", 0.3)
    numbers = count()
    ran = []
    found = of_calls(
        lambda *call: ran.append(call), [(1,), (2,)], lambda: reading(joules=next(numbers), watts=2)
    )
    assert found.calls == len(ran) and ran[:3] == [(1,), (2,), (1,)]
    assert found.joules["r"] * found.calls == pytest.approx(2 * found.energy.seconds)
    assert "p " in in_joules(found) and "50 degrees" in in_joules(found)


def test_no_energy_where_the_machine_does_not_tell(tmp_path):
    assert of_calls(pytest.fail, [()], lambda: read(tmp_path)) is None
