"""`edgeflow sys`: this machine, and which targets it can run."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

import typer

from edgeflow import __version__
from edgeflow.cli.console import out, print_json
from edgeflow.runtime.profile import machine
from edgeflow.targets import Target, load, names

LIBRARIES = (
    "numpy",
    "av",
    "onnxruntime",
    "openvino",
    "torch",
    "onnx",
    "onnxscript",
    "onnx-graphsurgeon",
    "numba",
)


def sys_info(
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show this machine, the libraries found, and which targets can run here."""
    versions = {name: _version(name) for name in LIBRARIES}
    found: dict[str, Any] = {
        "edgeflow": __version__,
        "machine": machine(),
        "libraries": versions,
        "targets": {name: _reason(load(name), versions) or "ready" for name in names()},
    }
    if json:
        print_json(found)
        return
    cpu = found["machine"]
    out.print(f"edgeflow {__version__} on {cpu['cpu']}, {cpu['threads']} threads, {cpu['system']}")
    for name, version in versions.items():
        out.print(f"  {name:18}{version or 'not installed'}")
    out.print("targets")
    for name, state in found["targets"].items():
        out.print(f"  {name:18}{state}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _reason(target: Target, versions: dict[str, str | None]) -> str | None:
    """Why a target cannot run here; None if it can."""
    version = versions[target.library]
    if version is None:
        return f"needs {target.library}: pip install 'edgeflow[{target.library}]'"
    if _numbers(version) < _numbers(target.minimum):
        return f"needs {target.library} >= {target.minimum}, found {version}: update it"
    return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split("+")[0].split(".") if part.isdigit()]
