"""How much sooner several workers make a film than one process does: `edgeflow batch` beside `edgeflow run`, start and join included.

    python benchmarks/batch.py BUNDLE FILM [--workers 2] [--times 3] [--engine local|ray]

Every command runs in a process of its own, in turn, `--times` times; medians are compared, and the load of the machine is said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer


def main(
    bundle: Path,
    film: Path,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    times: Annotated[int, typer.Option(min=1)] = 3,
    engine: Annotated[str, typer.Option()] = "local",
    json_too: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = ["run", bundle, film, "-o", out / f"one{film.suffix}"]
        batch = ["batch", bundle, film, "-o", out / "batch"]
        commands = {
            "run, 1 thread": [*run, "--threads", "1"],
            f"run, {cores} threads": [*run, "--threads", str(cores)],
            "batch, 1 worker": [*batch, "--workers", "1", "--threads", "1"],
            f"batch, {workers} workers ({engine})": [
                *batch, "--workers", str(workers), "--threads", "1", "--engine", engine,
            ],
        }  # fmt: skip
        took = measured(commands, out, times)
    first = median(took["run, 1 thread"])
    answer = {
        name: {
            "seconds": median(all_),
            "of": [round(each, 2) for each in all_],
            "speed_up": first / median(all_),
        }
        for name, all_ in took.items()
    }
    if json_too:
        print(json.dumps({"cores": cores, "load": os.getloadavg(), "commands": answer}, indent=1))
        return
    for name, told in answer.items():
        print(f"{name:28} {told['seconds']:8.1f} s   x{told['speed_up']:.2f}   {told['of']}")
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} at the end")


def measured(commands: dict[str, list[object]], out: Path, times: int) -> dict[str, list[float]]:
    """Seconds of each command, each time it was run."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, words in commands.items():
            for left in out.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "edgeflow", *map(str, words)], check=True, capture_output=True
            )
            took[name].append(time.perf_counter() - began)
    return took


if __name__ == "__main__":
    typer.run(main)
