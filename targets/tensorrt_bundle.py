"""Finishes a bundle on its device: builds what its engines still lack, and goes on where it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError
from edgeflow.ir.plan import Plan
from edgeflow.targets.engine_job import EngineJob, job_to_json
from edgeflow.targets.engine_store import EngineRecord, EngineSpec, device_key, engine_specs, find_engine
from edgeflow.targets.nvidia import Nvidia, free_bytes
from edgeflow.targets.tensorrt_fit import check_fits

MEMORY_SHARE = 0.5
"""Share of the free memory that a layer may use as workspace while it is built."""


@dataclass(frozen=True)
class Built:
    """What became of one engine.

    Attributes:
        name: of the engine.
        seconds: that its build took.
        found: it was there already.
        remarks: what of the build is worth knowing.
    """

    name: str
    seconds: float
    found: bool
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """What engines are built for, and with.

    Attributes:
        device: at hand.
        version: of TensorRT.
        plugin_library: path; empty if the bundle has no plugin nodes.
        free_bytes: tells the memory that is free, before each build.
    """

    device: Nvidia
    version: str
    plugin_library: str = ""
    free_bytes: Callable[[], int] = free_bytes


def engine_folder(bundle: Path, device: Nvidia, version: str) -> Path:
    """Where the engines for a device lie."""
    key = device_key(device.name, device.compute_capability, {"tensorrt": version, "cuda": device.cuda})
    return bundle / "engines" / key


def build_bundle(
    bundle: Bundle,
    wanted: Sequence[tuple[Plan, Mapping[str, int]]],
    site: Site,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    failed: Collection[str] = (),
) -> tuple[Built, ...]:
    """Build every engine of a bundle that is missing, stale or refused; each is saved as soon as it is done.

    Every engine is built in a process of its own, which gives all of its memory back: on a board whose GPU
    shares the memory of the host, what one build holds is missing to the next.

    Args:
        bundle: made for a TensorRT target.
        wanted: plans of it, each with values for the free dimensions of its frames.
        site: what for, and with.
        progress: told of every engine.
        failed: names of probes that failed here: graphs with such an operator are built in their other form.

    Raises:
        BackendError: the bundle is for another library or release, memory is short, or a build fails.
    """
    check_fits(bundle, site.device, site.version)
    folder = engine_folder(bundle.path, site.device, site.version)
    folder.mkdir(parents=True, exist_ok=True)
    specs = engine_specs(bundle, wanted, failed)
    found = usable(specs, folder, site)
    done = []
    for number, spec in enumerate(specs):
        progress(f"build {spec.name}", number, len(specs))
        record = found.get(spec.name) or build_engine(bundle, spec, folder, site)
        done.append(Built(spec.name, record.seconds, spec.name in found, record.remarks))
    progress("build", len(specs), len(specs))
    return tuple(done)


def usable(specs: Sequence[EngineSpec], folder: Path, site: Site) -> Mapping[str, EngineRecord]:
    """Records of the engines that are there, by name: whole, made from these graphs, and taken by this TensorRT."""
    found = {}
    for spec in specs:
        record = find_engine(_engine_file(folder, spec), spec, _library(spec, site))
        if record is not None:
            found[spec.name] = record
    if not found:
        return {}
    types = sorted({name for spec in specs for name in spec.plugins})
    options = ["--plugins", site.plugin_library, *types] if types else []
    files = [str(_engine_file(folder, spec)) for spec in specs if spec.name in found]
    done = _run_apart("tensorrt_reader", [*options, "--", *files])
    if done.returncode:
        raise BackendError(f"the engines in {folder} could not be read: {_reason(done)}")
    refused = {Path(line).name.removesuffix(".engine") for line in done.stdout.splitlines()}
    return {name: record for name, record in found.items() if name not in refused}


def build_engine(bundle: Bundle, spec: EngineSpec, folder: Path, site: Site) -> EngineRecord:
    """Build one engine in a process of its own; returns what is known of it.

    Raises:
        BackendError: TensorRT refuses the graph, memory is short, or the disk is full.
    """
    path, library = _engine_file(folder, spec), _library(spec, site)
    job = EngineJob(
        str(bundle.path / spec.file),
        str(path),
        str(folder / "timing.cache"),
        spec,
        site.plugin_library if library else "",
        int(site.free_bytes() * MEMORY_SHARE),
    )
    done = _run_apart("tensorrt_builder", [], job_to_json(job))
    if done.returncode:
        raise BackendError(f"{spec.name} could not be built: {_reason(done)}")
    record = find_engine(path, spec, library)
    if record is None:
        raise BackendError(f"{path} was written but is not whole: is the disk full? Run the command again")
    return record


def _engine_file(folder: Path, spec: EngineSpec) -> Path:
    return folder / f"{spec.name}.engine"


def _library(spec: EngineSpec, site: Site) -> str:
    """Name of the plugin library that an engine needs; empty for none."""
    return Path(site.plugin_library).name if spec.plugins else ""


def _run_apart(module: str, arguments: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of this package's modules in a process of its own, which ends when this one does."""
    command = [sys.executable, "-m", f"edgeflow.targets.{module}", str(os.getpid()), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process failed: its last line, or the signal that ended it."""
    if done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "the system stopped it, for want of memory: close other programs, or add swap for the build"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        said = f" after {lines[-1]}" if lines else ""
        return f"it was stopped by {name}{said}: a damaged library or a fault of TensorRT; build --anew, or report this"
    return lines[-1] if lines else "it printed nothing"
