"""Finishes a bundle on its device: builds what its engines still lack, and goes on where it was stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError
from edgeflow.targets.engine_job import EngineJob, job_to_json
from edgeflow.targets.engine_store import EngineSpec, device_key, engine_specs, find_engine
from edgeflow.targets.nvidia import Nvidia
from edgeflow.targets.target import numbers

MEMORY_SHARE = 0.5
"""Of the free memory that a layer may use as workspace while it is built."""
BF16_CAPABILITY = (8, 0)
"""Compute capability from which on devices have bfloat16 (NVIDIA's TensorRT support matrix, hardware and precision)."""
LEAST_BYTES = 512 << 20
"""Free memory below which TensorRT finds no tactics."""


@dataclass(frozen=True)
class Built:
    """What became of one engine: its name, the seconds its build took, and whether it was there already."""

    name: str
    seconds: float
    found: bool


def engine_folder(bundle: Path, device: Nvidia, version: str) -> Path:
    """Where the engines for a device lie."""
    key = device_key(device.name, device.compute_capability, {"tensorrt": version, "cuda": device.cuda})
    return bundle / "engines" / key


def build_bundle(
    bundle: Bundle,
    dims: Mapping[str, int],
    device: Nvidia,
    version: str,
    *,
    plugin_library: str = "",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Built, ...]:
    """Build every engine of a bundle that is missing or stale; each is saved as soon as it is done.

    Every engine is built in a process of its own, which gives all of its memory back: on a board whose GPU
    shares the memory of the host, what one build holds is missing to the next.

    Args:
        bundle: made for a TensorRT target.
        dims: values for the free dimensions of the frame.
        device: at hand.
        version: of TensorRT.
        plugin_library: path; empty if the bundle has no plugin nodes.
        progress: told of every engine.

    Raises:
        BackendError: the bundle is for another library or release, memory is short, or a build fails.
    """
    check_fits(bundle, device, version)
    folder = engine_folder(bundle.path, device, version)
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    specs = engine_specs(bundle, dims)
    for number, spec in enumerate(specs):
        progress(f"build {spec.name}", number, len(specs))
        path = folder / f"{spec.name}.engine"
        library = plugin_library if has_plugins(bundle, spec) else ""
        known = find_engine(path, spec, Path(library).name)
        if known is None:
            job = EngineJob(
                str(bundle.path / bundle.manifest.graphs[spec.graph].file),
                str(path),
                str(folder / "timing.cache"),
                spec,
                library,
                int(device.free_bytes * MEMORY_SHARE),
            )
            _build_apart(job)
            record = find_engine(path, spec, Path(library).name)
            if record is None:
                raise BackendError(
                    f"{path} was written but is not whole: is the disk full? Run the command again"
                )
            done.append(Built(spec.name, record.seconds, False))
        else:
            done.append(Built(spec.name, known.seconds, True))
    progress("build", len(specs), len(specs))
    return tuple(done)


def has_plugins(bundle: Bundle, spec: EngineSpec) -> bool:
    """Whether an engine's graph holds plugin nodes."""
    return bool(bundle.manifest.graphs[spec.graph].plugins)


def check_library(bundle: Bundle) -> None:
    """Refuse a bundle that is not for TensorRT.

    Raises:
        BackendError: says which target it is for.
    """
    target = bundle.manifest.target
    if target["library"] != "tensorrt":
        raise BackendError(
            f"bundle {bundle.path} is for {target['name']} ({target['library']}), which needs no build: run it, or "
            "export it with --target desktop-gpu or a Jetson's"
        )


def check_fits(bundle: Bundle, device: Nvidia, version: str) -> None:
    """Refuse a bundle that this device cannot finish.

    Raises:
        BackendError: says which target or release it is for, or how much memory is missing.
    """
    check_library(bundle)
    target = bundle.manifest.target
    oldest, newest = numbers(target["versions"][0]), numbers(target["versions"][-1])
    if not oldest <= numbers(version)[: len(oldest)] or numbers(version)[0] > newest[0]:
        first, last = target["versions"][0], target["versions"][-1]
        where = target.get("releases", {}).get(first, "a newer package")
        raise BackendError(
            f"TensorRT {version} is not among the releases that {target['name']} is for ({first} to {last}; {first} "
            f"comes with {where}): update it, or export for another target"
        )
    _check_precision(target, device, version)
    if device.free_bytes < LEAST_BYTES:
        raise BackendError(
            f"{device.name} has {device.free_bytes >> 20} MB of memory free, a build needs {LEAST_BYTES >> 20} MB: "
            "close other programs, stop the desktop, or add swap for the build"
        )


def _check_precision(target: Mapping[str, Any], device: Nvidia, version: str) -> None:
    """Refuse a precision that this release or device does not have.

    Raises:
        BackendError: says what has it.
    """
    precision = target["precision"]
    first = target.get("since", {}).get(precision, "0")
    advice = "or export with --precision fp16"
    if numbers(version) < numbers(first):
        known = [release for release in target["versions"] if numbers(release) >= numbers(first)]
        brought = [target["releases"][release] for release in known if release in target.get("releases", {})]
        where = f" ({'; '.join(brought)})" if brought else ""
        raise BackendError(
            f"TensorRT {version} does not take {precision}, releases from {first} on do{where}: update it, {advice}"
        )
    if precision == "bf16" and numbers(device.compute_capability) < BF16_CAPABILITY:
        raise BackendError(
            f"{device.name} (compute capability {device.compute_capability}) has no bfloat16, devices from 8.0 on do: "
            f"use another device, {advice}"
        )


def _build_apart(job: EngineJob) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(job_to_json(job))
        command = [sys.executable, "-m", "edgeflow.targets.tensorrt_builder", str(path)]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1] if lines else "it printed nothing"
    if done.returncode in (-9, 137):
        reason = "the system stopped it, for want of memory: close other programs, or add swap for the build"
    raise BackendError(f"{job.spec.name} could not be built: {reason}")
