"""Builds one TensorRT engine from a typed graph. Needs TensorRT, and neither torch nor onnx.

One code path serves TensorRT 10.1 to 11.4: strongly typed networks, `*_v2` names and IPluginV3 are in all
of them. Enumerations are looked up by name, since their numbers differ between releases.

Run as `python -m edgeflow.targets.tensorrt_builder JOB.json`, it builds the engine of a job in a process of
its own, so that all memory comes back before the next one.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import tensorrt as trt

from edgeflow.ir.errors import BackendError
from edgeflow.ir.files import write_atomically
from edgeflow.targets.engine_job import EngineJob, job_from_json
from edgeflow.targets.engine_store import Shapes, save_engine
from edgeflow.targets.target import numbers

OLDEST = (10, 1)
"""Strong typing, IPluginV3, DeformConv and the `_v2` names came by then."""

TYPES = {
    "fp32": ("Float", "FP32"),
    "fp16": ("Half", "FP16"),
    "bf16": ("BF16", "BFloat16"),
    "int8": ("Int8", "INT8"),
}
"""How the inspector of TensorRT 10 and 11 calls a type."""


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's warnings and errors, to be quoted."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(msg.strip())

    @property
    def reason(self) -> str:
        """The first error, which mostly causes the others."""
        return self.errors[0] if self.errors else "TensorRT gave no reason"


def check_version() -> str:
    """The version of TensorRT, if it is not too old.

    Raises:
        BackendError: names the JetPack that has a newer one.
    """
    if numbers(trt.__version__)[:2] < OLDEST:
        raise BackendError(
            f"TensorRT {trt.__version__} is too old, edgeflow needs 10.1 or later: JetPack 6.1 has 10.3, "
            "JetPack 7.2 has 10.16; elsewhere pip install --upgrade tensorrt"
        )
    return str(trt.__version__)


def build(job: EngineJob) -> None:
    """Build an engine and write it with its record.

    Raises:
        BackendError: TensorRT refuses the graph, finds no implementation, or built another precision.
    """
    check_version()
    start = perf_counter()
    log = Log()
    where = f"TensorRT {trt.__version__}, {job.spec.graph}"
    if job.plugin_library:
        load_plugins(job.plugin_library)
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(job.graph):
        raise BackendError(f"{where}: {_parser_errors(parser) or log.reason}")
    config, cache = _configured(builder, network, job)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"{where}: no engine could be built: {log.reason}; if memory ran out, close other programs, add swap "
            "for the build, or export with fewer static batches"
        )
    data = bytes(plan)
    layers = _layers(data, log, where)
    _prove_precision(layers, job.spec.precision, where)
    _save_cache(config, job.timing_cache)
    plugins = Path(job.plugin_library).name if job.plugin_library else ""
    save_engine(Path(job.engine), data, job.spec, plugins, perf_counter() - start, layers)
    del cache  # TensorRT reads it until the build is done


def load_plugins(library: str) -> None:
    """Register the plugins of a library, once per process.

    Raises:
        BackendError: TensorRT cannot load it.
    """
    if library in _loaded:
        return
    handle = trt.get_plugin_registry().load_library(library)
    if handle is None:
        raise BackendError(
            f"TensorRT {trt.__version__} cannot load the plugin library {library}: it was built for another "
            "release or is damaged; delete it and run `edgeflow build` again"
        )
    _loaded[library] = handle


_loaded: dict[str, Any] = {}


def _configured(
    builder: trt.Builder, network: trt.INetworkDefinition, job: EngineJob
) -> tuple[trt.IBuilderConfig, trt.ITimingCache]:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.max_aux_streams = 0
    if job.spec.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    known = Path(job.timing_cache)
    cache = config.create_timing_cache(known.read_bytes() if known.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    names = [network.get_input(i).name for i in range(network.num_inputs)]
    for profile in job.spec.profiles:
        config.add_optimization_profile(_profile(builder, names, profile))
    return config, cache


def _profile(builder: trt.Builder, names: list[str], shapes: Shapes) -> trt.IOptimizationProfile:
    """One static shape: the least, the best and the largest are the same."""
    profile = builder.create_optimization_profile()
    known = dict(shapes)
    for name in names:
        profile.set_shape(name, known[name], known[name], known[name])
    return profile


def _parser_errors(parser: trt.OnnxParser) -> str:
    found = [parser.get_error(i) for i in range(parser.num_errors)]
    return "; ".join(f"{e.node_operator() or 'graph'} {e.node_name()}: {e.desc()}" for e in found[:3])


def _save_cache(config: trt.IBuilderConfig, path: str) -> None:
    write_atomically(Path(path), bytes(config.get_timing_cache().serialize()))


def _layers(data: bytes, log: Log, where: str) -> Mapping[str, int]:
    """How many layers write each type, as the engine itself says."""
    engine = trt.Runtime(log).deserialize_cuda_engine(data)
    if engine is None:
        raise BackendError(f"{where}: the engine that was built cannot be read back: {log.reason}")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return layer_types(json.loads(text))


def layer_types(information: Mapping[str, Any]) -> Mapping[str, int]:
    """Layers by the type of their first output, from the inspector's JSON of TensorRT 10 or 11."""
    found: Counter[str] = Counter()
    for layer in information.get("Layers", []):
        outputs = layer.get("Outputs") if isinstance(layer, dict) else None
        if outputs:
            text = str(outputs[0].get("DataType") or outputs[0].get("Format/Datatype") or "")
            names = [name for name, words in TYPES.items() if re.search(rf"\b({'|'.join(words)})\b", text)]
            found[names[0] if names else "other"] += 1
    return dict(found)


def _prove_precision(layers: Mapping[str, int], wanted: str, where: str) -> None:
    """Compare what was built with what was asked for.

    Raises:
        BackendError: no layer writes the wanted type.
    """
    if not layers:
        raise BackendError(f"{where}: the engine says nothing of its layers, so its precision is not proven")
    if not layers.get(wanted):
        built = ", ".join(f"{count} at {name}" for name, count in layers.items())
        raise BackendError(
            f"{where}: no layer was built at {wanted} ({built}): export with another --precision, or report this"
        )


def main(path: str) -> int:
    """Build the job in a file; an error goes to stderr as one line."""
    try:
        build(job_from_json(Path(path).read_text()))
    except BackendError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
