"""TensorRT, without torch: named tensors, one stream, one arena for the activations of all engines.

All engines run on one stream, one after the other, so one arena as large as the largest needs serves all.
An engine holds an optimisation profile per static shape, and its weights once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorrt as trt

from edgeflow.ir.bundle import MANIFEST, WEIGHTS
from edgeflow.ir.bundle.json_file import read_json
from edgeflow.ir.errors import BackendError, NotBuiltError
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.device_memory import DeviceMemory
from edgeflow.runtime.backends.rectangles import kernel_of
from edgeflow.runtime.backends.tensorrt_engine import Arena, TensorRtEngine
from edgeflow.targets.cudart import Cudart
from edgeflow.targets.engine_store import EngineRecord, engine_name, known_engine, tensors
from edgeflow.targets.nvidia import find
from edgeflow.targets.plugin_library import is_whole
from edgeflow.targets.plugin_registry import load_plugins
from edgeflow.targets.tensorrt_bundle import engine_folder
from edgeflow.targets.tensorrt_log import check_version, made, process_log


class TensorRtBackend:
    """Engines that `edgeflow build` made for this device.

    Args:
        threads: of the host; TensorRT uses none for inference.
        timed: wait for every engine, so that its time is its own, and time its layers.
        cudart: the CUDA runtime; loaded if None.

    Raises:
        BackendError: TensorRT is too old, or there is no device.
    """

    name = "tensorrt"
    version = trt.__version__
    loads_at_once = 1
    joins = False

    def __init__(self, threads: int, timed: bool = False, cudart: Cudart | None = None) -> None:
        check_version()
        self.threads, self._timed = threads, timed
        runtime = cudart or Cudart()
        self.device = find(runtime)
        self.memory = DeviceMemory(runtime, runtime.stream())
        self.accelerator = self.device.words
        self.log = process_log()
        self.log.begin()
        self._runtime = made(trt.Runtime, self.log)
        self._arena = Arena(self.memory)

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> TensorRtEngine:
        """See `Backend.load`. What is loaded is the engine that was built from this graph, for this device.

        Raises:
            BackendError: it was not built, or from another graph, or the file is damaged.
        """
        bundle = path.parent.parent
        name = engine_name(path.stem, inputs, outputs, dims)
        file = engine_folder(bundle, self.device, self.version) / f"{name}.engine"
        manifest = read_json(bundle / MANIFEST)
        entry = manifest["graphs"][path.stem]
        sources = (_source(manifest, form) for form in (entry["file"], entry.get("other")) if form)
        known = (known_engine(file, source, tensors(outputs)) for source in sources)
        record = next((record for record in known if record), None)
        if record is None:
            raise NotBuiltError(
                f"{name} has no engine for {self.device.name} and TensorRT {self.version} that was made from this "
                f"graph: run `edgeflow build {bundle}` on this machine"
            )
        return self.open(file, record, inputs, outputs, entry["plugins"])

    def open(
        self,
        file: Path,
        record: EngineRecord,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        plugins: Sequence[str] = (),
    ) -> TensorRtEngine:
        """An engine from its file.

        Args:
            file: of the engine; its plugin library lies beside it.
            record: what is known of it.
            inputs: in the order that `run` gets them.
            outputs: in the order that `run` gets them.
            plugins: types of plugin nodes in it.

        Raises:
            BackendError: TensorRT refuses it, or its plugins.
        """
        self.log.begin()
        if record.plugins:
            library = file.parent / record.plugins
            if not is_whole(library):
                raise NotBuiltError(f"{library} was not built on this machine: run `edgeflow build` here")
            load_plugins(str(library), plugins)
            self.memory.kernel = self.memory.kernel or kernel_of(library)
        engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if engine is None:
            raise BackendError(
                f"TensorRT {self.version} refuses {file}: {self.log.reason}; run `edgeflow build` again"
            )
        self._arena.reserve(engine.device_memory_size_v2)
        profiles = [dict(profile) for profile in record.profiles]
        return TensorRtEngine(
            engine, profiles, inputs, outputs, self.memory, self._arena, self.log, self._timed
        )


def _source(manifest: Mapping[str, Any], graph: str) -> tuple[str, str]:
    """SHA-256 of a graph's file and of the weights, as the manifest has them."""
    files = manifest["files"]
    return files[graph]["sha256"], files[WEIGHTS]["sha256"]
