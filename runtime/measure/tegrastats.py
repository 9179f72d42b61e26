"""What a Jetson's own `tegrastats` tells: for boards and containers whose sysfs does not.

It prints a line at each interval: rails in milliwatts (`VDD_IN 4808mW/4808mW`, now and on the mean; `POM_5V_IN 2545/2547` before
JetPack 5), temperatures (`cpu@47.6C`, in newer releases with a second one behind a slash), cores (`CPU [12%@1510,off]`) and the
GPU's clock (`GR3D_FREQ 61%@[905,905]`, or `@905`).

Sources: NVIDIA's Jetson Linux Developer Guide, "tegrastats Utility"; lines that users of boards show in public.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import which
from threading import Event, Thread
from typing import IO

from edgeflow.runtime.measure.sensors import SYSFS, Reading, read

PERIOD_MS = 100
"""Between its lines."""
FIRST_LINE_S = 3.0
"""Seconds that its first line may take."""
_RAIL = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?(?=[\s/]|$)")
_ZONE = re.compile(r"(?:^|\s)(\w+)@(-?\d+(?:\.\d+)?)C(?=[\s/]|$)")
_CORES = re.compile(r"\bCPU \[([^\]]*)\](?:@(\d+))?")
_GPU = re.compile(r"\bGR3D(?:_FREQ)? (?:\d+%)?@\[?(\d+)")
_MEMORIES = ("RAM", "SWAP", "IRAM")
"""What is written like a rail and is none."""


def parsed(line: str) -> Reading:
    """What a line tells; nothing of a line of something else."""
    watts = {name: int(now) / 1e3 for name, now in _RAIL.findall(line) if name not in _MEMORIES}
    celsius = {name: float(degrees) for name, degrees in _ZONE.findall(line) if float(degrees) > 0}
    return Reading({}, {}, watts, celsius, dict(_clocks(line)), {})


def _clocks(line: str) -> Iterator[tuple[str, float]]:
    """Megahertz of the processor, the mean of the cores that are on, and of the GPU."""
    if cores := _CORES.search(line):
        each = [int(clock) for clock in re.findall(r"%@(\d+)", cores[1])] or [int(cores[2] or 0)]
        if any(each):
            yield "cpu", sum(each) / len(each)
    if (gpu := _GPU.search(line)) and int(gpu[1]):
        yield "gpu", float(gpu[1])


class Tegrastats:
    """The program's latest line, read by a thread of its own.

    Args:
        lines: that it prints.
    """

    def __init__(self, lines: IO[str]) -> None:
        self._latest, self._told = Reading({}, {}, {}, {}, {}, {}), Event()
        Thread(target=self._follow, args=(lines,), name="edgeflow tegrastats", daemon=True).start()

    def read(self) -> Reading:
        """What it told last; nothing if it told nothing in its first seconds."""
        self._told.wait(FIRST_LINE_S)
        return self._latest

    def _follow(self, lines: IO[str]) -> None:
        for line in lines:
            self._latest = parsed(line)
            self._told.set()
        self._told.set()


@contextmanager
def machine_sensors(root: Path = SYSFS) -> Iterator[Callable[[], Reading]]:
    """What reads this machine while a with statement's body runs: sysfs; where that tells of no power, `tegrastats` if it is there.

    Args:
        root: where sysfs is mounted.
    """
    program = which("tegrastats")
    if program is None or read(root).tells_power:
        yield partial(read, root)
        return
    command = [program, "--interval", str(PERIOD_MS)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as running:
        try:
            assert running.stdout is not None
            yield Tegrastats(running.stdout).read
        finally:
            running.terminate()
