"""`edgeflow build`: finishes a bundle on the device that it is for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, cast

import typer

from edgeflow.cli import endings
from edgeflow.cli.clips import parse_size
from edgeflow.cli.console import err, out, print_json, progress_bar
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.bundle.built_here import check_recordable
from edgeflow.ir.bundle.costs import save_costs
from edgeflow.ir.errors import BackendError
from edgeflow.ir.libraries import library
from edgeflow.ir.plan import Plan
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.backends.base import KeepingBackend
from edgeflow.runtime.backends.compiled_from import engine_folder
from edgeflow.runtime.check import check, golden_clip
from edgeflow.runtime.checking.engines import golden_size
from edgeflow.runtime.keep import keep_models
from edgeflow.runtime.machine import cpu_name, in_words, instruction_sets
from edgeflow.runtime.measure.profile import profile
from edgeflow.runtime.session import select_plan
from edgeflow.runtime.stream.loading import dims_of
from edgeflow.targets import nvidia, plugin_library, tensorrt_bundle, tensorrt_fit
from edgeflow.targets.engine_store import trust_engines


@dataclass(frozen=True)
class _Asked:
    """The command's options.

    Attributes:
        size: (height, width) of the frames to come.
        resume: keep what is there.
        headers: TensorRT's.
        trust: compile the plugin sources that the bundle brings, and take its engines.
    """

    size: tuple[int, int] | None
    resume: bool
    headers: Path | None
    trust: bool


@dataclass(frozen=True)
class _Finished:
    """What a build did.

    Attributes:
        device: that it is for.
        folder: where the engines lie.
        engines: all, new and found.
        seconds: that new ones took.
        remarks: what is worth knowing of them.
        probes: operators that TensorRT is known to get wrong, as they were tried.
    """

    device: dict[str, Any]
    folder: str
    engines: tuple[dict[str, Any], ...]
    seconds: float
    remarks: tuple[str, ...] = ()
    probes: tuple[dict[str, Any], ...] = ()

    @property
    def summary(self) -> str:
        """In one line."""
        there = sum(engine["found"] for engine in self.engines)
        new = len(self.engines) - there
        return f"{self.folder}: {len(self.engines)} engines, {new} built in {self.seconds:.0f} s, {there} were there"


def build(
    bundle: Annotated[Path, typer.Argument(help="The bundle to finish here.")],
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Size of the frames to come, if the bundle is for any size."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--continue/--anew", help="Keep the engines that are there and still fit, or build all again."
        ),
    ] = True,
    headers: Annotated[
        Path | None,
        typer.Option(
            help="Folder of TensorRT's headers, for the plugins, if it is not where the packages put it."
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Compile the plugin sources that the bundle brings, and take the engines in it that were built elsewhere: they run as you do.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was built as JSON.")] = False,
) -> None:
    """Build a bundle's engines on this device, check them against the goldens, and time them.

    TensorRT's engines must be built before a bundle runs. Models of OpenVINO and ONNX Runtime may be: sessions on this
    processor then load them in a fraction of the time. Needs neither torch nor onnx. Every engine is kept as soon as it
    is built: after a kill or a power cut, the same command goes on where it stopped.

    Example: edgeflow build cain.edgeflow --size 1280x720
    """
    opened = open_bundle(bundle)
    check_recordable()
    frame = parse_size(size) if size else None
    with progress_bar() as bar:
        task = bar.add_task("build")

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        try:
            finish = _FINISHES.get(library(opened.manifest.target["library"]).builds, _build_tensorrt)
            built = finish(opened, _Asked(frame, resume, headers, trust), progress)
        except KeyboardInterrupt:
            endings.say(endings.GO_ON)
            raise typer.Exit(endings.code()) from None
    for remark in built.remarks:
        err.print(f"edgeflow: {remark}", soft_wrap=True)
    with err.status("check"):
        report = check(opened)
    with err.status("profile"):
        costs = profile(opened, size=frame).costs
    save_costs(bundle, costs)
    if json:
        print_json({**asdict(built), "check": report.to_json()})
    else:
        out.print(f"{built.summary}; goldens {_verdict(report.passed)}", soft_wrap=True)
    if not report.passed:
        raise typer.Exit(1)


def _build_tensorrt(bundle: Bundle, asked: _Asked, progress: Callable[[str, int, int], None]) -> _Finished:
    """Plugins and engines for the NVIDIA device at hand."""
    tensorrt_fit.check_library(bundle)
    version = _tensorrt()
    device = nvidia.find()
    tensorrt_fit.check_fits(bundle, device, version)
    folder = tensorrt_bundle.engine_folder(bundle.path, device, version)
    if not asked.resume:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.trust:
        trust_engines(folder)
    library = _plugins(bundle, device, version, folder, asked)
    site = tensorrt_bundle.Site(device, version, library)
    from edgeflow.runtime.backends.tensorrt_probe import probe

    progress("probe", 0, 1)
    probed = probe(bundle, site)
    failed = [one.name for one in probed if not one.passed]
    built = tensorrt_bundle.build_bundle(bundle, _wanted(bundle, asked.size), site, progress, failed)
    remarks = (*(f"{one.name}: {remark}" for one in built for remark in one.remarks),)
    remarks += tuple(one.remark for one in probed if one.remark)
    seconds = sum(one.seconds for one in built if not one.found)
    probes = tuple(asdict(one) | {"passed": one.passed} for one in probed)
    return _Finished(asdict(device), str(folder), tuple(map(asdict, built)), seconds, remarks, probes)


def _wanted(bundle: Bundle, size: tuple[int, int] | None) -> list[tuple[Plan, dict[str, int]]]:
    """The plans to build, with their frames' sizes: for the size asked for also that of the goldens, to be checked."""
    plans = bundle.manifest.plans
    if size is None:
        return [(plan, {}) for plan in plans.values()]
    chosen = select_plan(plans, *size)
    kind = next(kind for kind, plan in plans.items() if plan is chosen)
    return [(chosen, dims_of(size)), (chosen, dims_of(golden_size(golden_clip(bundle, kind), chosen)))]


def _keep_models(bundle: Bundle, asked: _Asked, progress: Callable[[str, int, int], None]) -> _Finished:
    """The library's models for the processor at hand."""
    name = bundle.manifest.target["library"]
    build = cast(KeepingBackend, open_backend(name)).build  # says how to get it where it is missing
    folder = engine_folder(bundle.path, name, build)
    if not asked.resume:
        shutil.rmtree(folder, ignore_errors=True)
    start = perf_counter()
    kept = keep_models(bundle, folder, asked.size, lambda done, total: progress("compile", done, total))
    device = {"name": cpu_name(), "instructions": in_words(instruction_sets()), name: build}
    return _Finished(device, str(folder), tuple(map(asdict, kept)), perf_counter() - start)


_FINISHES = {"models": _keep_models, "engines": _build_tensorrt}
"""What finishes a bundle, by what its library builds; the second also says for which targets there is nothing to build."""


def _tensorrt() -> str:
    """Version of the TensorRT that is installed.

    Raises:
        BackendError: none is, or it is too old.
    """
    try:
        from edgeflow.targets import tensorrt_log
    except ImportError as error:
        raise BackendError(f"TensorRT is not installed ({error}): {library('tensorrt').install}") from error
    return tensorrt_log.check_version()


def _plugins(bundle: Bundle, device: nvidia.Nvidia, version: str, folder: Path, asked: _Asked) -> str:
    """Path of the plugin library, built if a graph needs it and it is not there; empty if none does."""
    if not any(entry.plugins for entry in bundle.manifest.graphs.values()):
        return ""
    major, minor = device.compute_capability.split(".")
    machine = plugin_library.Machine(version, (int(major), int(minor)), device.driver)
    with err.status("build the plugins"):
        sources = bundle.path / "plugins" if asked.trust else plugin_library.SOURCES
        headers = asked.headers or plugin_library.find_headers()
        found = plugin_library.build(headers, machine, folder, sources)
    return str(found)


def _verdict(passed: bool) -> str:
    return "agree" if passed else "DIFFER: see `edgeflow check`"
