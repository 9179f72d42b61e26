"""What a machine tells of its power, temperatures and clocks, by Linux's sysfs.

- energy counters of x86 processors (RAPL, `class/powercap`), which some systems let only root read;
- rails of a Jetson's power monitors (INA3221, `class/hwmon`): volts times amperes;
- temperatures (`class/thermal`), clocks of the processor (`cpufreq`) and of a Jetson's GPU (`class/devfreq`);
- throttling: a processor's counts (`thermal_throttle`), a Jetson's events of too much current (`oc*_event_cnt`).

Source: the kernel's documentation of these classes; NVIDIA's Jetson Linux Developer Guide, "Power and Performance".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys")
_HOTTEST = 150.0
"""Degrees Celsius, above which a sensor is not one of temperature."""


@dataclass(frozen=True)
class Reading:
    """Everything that could be read at one time; nothing of what the machine does not tell.

    Attributes:
        joules: counted so far, by counter; they begin anew after `turns`.
        turns: joules after which a counter begins anew.
        watts: by rail.
        celsius: by zone.
        megahertz: by clock.
        throttled: events so far, by what counts them.
    """

    joules: Mapping[str, float]
    turns: Mapping[str, float]
    watts: Mapping[str, float]
    celsius: Mapping[str, float]
    megahertz: Mapping[str, float]
    throttled: Mapping[str, int]

    @property
    def tells_power(self) -> bool:
        """Whether energy can be found from readings like this."""
        return bool(self.joules or self.watts)


def read(root: Path = SYSFS) -> Reading:
    """Read all sensors.

    Args:
        root: where sysfs is mounted.
    """
    counters = list(_counters(root))
    return Reading(
        {name: now for name, now, _ in counters},
        {name: turn for name, _, turn in counters},
        dict(_rails(root)),
        dict(_zones(root)),
        dict(_clocks(root)),
        dict(_throttled(root)),
    )


def _counters(root: Path) -> Iterator[tuple[str, float, float]]:
    """Whole packages: what is in them is counted with them."""
    for folder in sorted(root.glob("class/powercap/intel-rapl:*")):
        microjoules, turn = _number(folder / "energy_uj"), _number(folder / "max_energy_range_uj")
        if folder.name.count(":") == 1 and microjoules is not None and turn:
            yield _text(folder / "name") or folder.name, microjoules / 1e6, turn / 1e6


def _rails(root: Path) -> Iterator[tuple[str, float]]:
    for folder in sorted(root.glob("class/hwmon/hwmon*")):
        if _text(folder / "name") != "ina3221":
            continue
        for label in sorted(folder.glob("in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            millivolts = _number(folder / f"in{number}_input")
            milliamperes = _number(folder / f"curr{number}_input")
            name = _text(label)
            if name and "sum" not in name.lower() and millivolts is not None and milliamperes is not None:
                yield name, millivolts * milliamperes / 1e6


def _zones(root: Path) -> Iterator[tuple[str, float]]:
    for folder in sorted(root.glob("class/thermal/thermal_zone*")):
        millidegrees = _number(folder / "temp")
        if millidegrees is not None and 0 < millidegrees / 1e3 < _HOTTEST:
            yield _text(folder / "type") or folder.name, millidegrees / 1e3


def _clocks(root: Path) -> Iterator[tuple[str, float]]:
    processor = [_number(path) for path in root.glob("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")]
    if known := [kilohertz for kilohertz in processor if kilohertz]:
        yield "cpu", sum(known) / len(known) / 1e3
    for folder in sorted(root.glob("class/devfreq/*")):
        hertz = _number(folder / "cur_freq")
        if hertz and folder.name.rpartition(".")[2] in ("gpu", "ga10b", "gv11b", "gp10b"):
            yield "gpu", hertz / 1e6


def _throttled(root: Path) -> Iterator[tuple[str, int]]:
    cores = [
        _number(path) for path in root.glob("devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
    ]
    if known := [count for count in cores if count is not None]:
        yield "cpu heat", int(sum(known))
    for path in sorted(root.glob("class/hwmon/hwmon*/oc*_event_cnt")):
        if (count := _number(path)) is not None:
            yield path.name.removesuffix("_event_cnt"), int(count)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    """What a file says; None where it is not there, may not be read, or says something else."""
    try:
        return float(_text(path))
    except ValueError:
        return None
