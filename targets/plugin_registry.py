"""Registers edgeflow's plugins with TensorRT, once per process."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import tensorrt as trt

from edgeflow.ir.errors import BackendError
from edgeflow.targets.plugin_library import is_whole

NAMESPACE = "edgeflow"


def load_plugins(library: str, plugins: Collection[str]) -> None:
    """Register a library's plugins, unless one of the same version has: TensorRT refuses a name that it knows.

    Args:
        library: path of the file, whose name says the plugins' version.
        plugins: types of the nodes that need it.

    Raises:
        BackendError: it is not there or damaged, or TensorRT cannot load it.
    """
    found = re.search(r"-(\w+)-trt", Path(library).name)
    version = found[1] if found else "1"
    registry = trt.get_plugin_registry()
    if all(registry.get_creator(name, version, NAMESPACE) is not None for name in plugins):
        return
    if not is_whole(Path(library)):
        raise BackendError(f"the plugin library {library} is missing or damaged: run `edgeflow build` again")
    if registry.load_library(library) is None:
        raise BackendError(
            f"TensorRT {trt.__version__} cannot load the plugin library {library}: it was built for another "
            "release; delete it and run `edgeflow build` again"
        )
