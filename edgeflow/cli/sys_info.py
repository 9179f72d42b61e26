"""`edgeflow sys`: this machine, and which targets it can build for and run."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from edgeflow import __version__
from edgeflow.cli.console import out, print_json
from edgeflow.ir.errors import BackendError
from edgeflow.ir.libraries import Library, libraries, library
from edgeflow.runtime.machine import in_words
from edgeflow.runtime.measure.profile import machine
from edgeflow.targets import Target, load, names, numbers
from edgeflow.targets.nvidia import Nvidia, find, sm
from edgeflow.targets.tensorrt_fit import other_device

PACKAGES = ("numpy", "av", "torch", "onnx", "onnxscript", "onnx-graphsurgeon", "numba")
"""Packages shown beside those of the engine libraries."""


def sys_info(
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show this machine, the libraries found, and for each target whether it can run here, or why not."""
    known = [package for own in libraries().values() for package in own.packages]
    versions = {name: _version(name) for name in dict.fromkeys((*known, *PACKAGES))}
    versions["tensorrt"] = versions["tensorrt"] or _module_version("tensorrt")
    device, absent = _nvidia()
    found: dict[str, Any] = {
        "edgeflow": __version__,
        "machine": machine(),
        "nvidia": asdict(device) if device else None,
        "libraries": versions,
        "targets": {name: _reason(load(name), versions, device, absent) or "ready" for name in names()},
    }
    if json:
        print_json(found)
        return
    cpu = found["machine"]
    here = f"{cpu['cpu']} ({in_words(cpu['instructions'])}), {cpu['threads']} threads"
    out.print(f"edgeflow {__version__} on {here}, {cpu['system']}", soft_wrap=True)
    if device:
        jetson = f", JetPack {device.jetpack or '?'} (L4T {device.l4t})" if device.l4t else ""
        power = (
            f", power mode {device.power_mode}, clocks {device.clocks or '?'}" if device.power_mode else ""
        )
        out.print(
            f"  {device.name}, {sm(device.compute_capability)}, CUDA {device.cuda}{jetson}, "
            f"{device.free_bytes / 1e9:.1f} of {device.total_bytes / 1e9:.1f} GB free{power}",
            soft_wrap=True,
        )
    else:
        out.print(f"  no NVIDIA device: {absent}", soft_wrap=True)
    for name, version in versions.items():
        out.print(f"  {name:22}{version or 'not installed'}")
    out.print("targets")
    for name, state in found["targets"].items():
        out.print(f"  {name:22}{state}", soft_wrap=True)


def _nvidia() -> tuple[Nvidia | None, str]:
    try:
        return find(), ""
    except BackendError as error:
        return None, str(error)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _module_version(module: str) -> str | None:
    """Version of a module that packages of several names bring, as of `tensorrt`: a Jetson's, tensorrt-cu12, tensorrt-cu13."""
    if find_spec(module) is None:
        return None
    try:
        return str(import_module(module).__version__)
    except (ImportError, OSError, AttributeError):
        return None


def _reason(
    target: Target, versions: dict[str, str | None], device: Nvidia | None, absent: str
) -> str | None:
    """Why a target cannot run here; None if it can."""
    own = library(target.library)
    version = next((found for name in own.packages if (found := versions[name])), None)
    if version is None:
        return f"needs {target.library}: {own.install}"
    if numbers(version) < numbers(target.minimum):
        return f"needs {target.library} >= {target.minimum}, found {version}: update it"
    if not target.compute_capability:
        return _lacking(own) or None
    if device is None:
        return f"needs an NVIDIA device: {absent}"
    return other_device(target.to_json(), device) or None


def _lacking(own: Library) -> str:
    """What a library's device lacks here, in the library's words."""
    if not own.lacking:
        return ""
    module, _, name = own.lacking.partition(":")
    said: str = getattr(import_module(module), name)()
    return said
