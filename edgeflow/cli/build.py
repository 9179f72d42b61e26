"""`edgeflow build`: finishes a bundle on the device that it is for."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeflow.cli.clips import parse_size
from edgeflow.cli.console import err, out, print_json, progress_bar
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.costs import save_costs
from edgeflow.ir.errors import BackendError
from edgeflow.runtime.backends import INSTALL
from edgeflow.runtime.check import check
from edgeflow.runtime.profile import profile
from edgeflow.targets import nvidia, plugin_library

if TYPE_CHECKING:
    from edgeflow.targets.tensorrt_bundle import Built


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
    json: Annotated[bool, typer.Option("--json", help="Print what was built as JSON.")] = False,
) -> None:
    """Build a bundle's TensorRT engines on this device, check them against the goldens, and time them.

    Needs the device's TensorRT, and neither torch nor onnx. Every engine is kept as soon as it is built: after
    a kill or a power cut, the same command goes on where it stopped.

    Example: edgeflow build cain.edgeflow --size 1280x720
    """
    opened = open_bundle(bundle)
    version = _tensorrt()
    from edgeflow.targets.tensorrt_bundle import build_bundle, check_fits, engine_folder

    device = nvidia.find()
    check_fits(opened, device, version)
    folder = engine_folder(bundle, device, version)
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    dims = dict(zip(("height", "width"), parse_size(size), strict=True)) if size else {}
    library = _plugins(opened, device, folder, headers)
    with progress_bar() as bar:
        task = bar.add_task("build")
        try:
            built = build_bundle(
                opened,
                dims,
                device,
                version,
                plugin_library=library,
                progress=lambda what, done, total: bar.update(
                    task, description=what, completed=done, total=total
                ),
            )
        except KeyboardInterrupt:
            err.print("edgeflow: interrupted; run the same command again to go on where it stopped")
            raise typer.Exit(130) from None
    with err.status("check"):
        report = check(opened)
    with err.status("profile"):
        costs = profile(opened, size=(dims["height"], dims["width"]) if dims else None).costs
    save_costs(bundle, costs)
    if json:
        print_json(
            {"device": asdict(device), "engines": [asdict(one) for one in built], "check": report.to_json()}
        )
    else:
        _print(folder, built, report.passed)
    if not report.passed:
        raise typer.Exit(1)


def _tensorrt() -> str:
    """Version of the TensorRT that is installed.

    Raises:
        BackendError: none is, or it is too old.
    """
    try:
        from edgeflow.targets import tensorrt_builder
    except ImportError as error:
        raise BackendError(f"TensorRT is not installed ({error}): {INSTALL['tensorrt']}") from error
    return tensorrt_builder.check_version()


def _plugins(bundle: Bundle, device: nvidia.Nvidia, folder: Path, headers: Path | None) -> str:
    """Path of the plugin library, built if a graph needs it and it is not there; empty if none does."""
    if not any(entry.plugins for entry in bundle.manifest.graphs.values()):
        return ""
    major, minor = device.compute_capability.split(".")
    with err.status("build the plugins"):
        found = plugin_library.build(
            headers or plugin_library.find_headers(),
            (int(major), int(minor)),
            folder,
            bundle.path / "plugins",
        )
    return str(found)


def _print(folder: Path, built: tuple[Built, ...], passed: bool) -> None:
    new = [one for one in built if not one.found]
    out.print(
        f"{folder}: {len(built)} engines, {len(new)} built in {sum(one.seconds for one in new):.0f} s, "
        f"{len(built) - len(new)} were there; goldens {'agree' if passed else 'DIFFER: see `edgeflow check`'}",
        soft_wrap=True,
    )
