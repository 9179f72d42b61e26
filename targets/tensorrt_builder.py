"""Builds one TensorRT engine from a typed graph. Needs TensorRT, and neither torch nor onnx.

One code path serves TensorRT 10.1 to 11.4: strongly typed networks, `*_v2` names and IPluginV3 are in all
of them. Enumerations are looked up by name, since their numbers differ between releases.

Run as `python -m edgeflow.targets.tensorrt_builder PARENT`, it builds the engine of the job that it reads in a process of
its own, so that all memory comes back before the next one.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import tensorrt as trt

from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.errors import BackendError, EdgeflowError
from edgeflow.ir.files import write_atomically
from edgeflow.targets.engine_job import EngineJob, job_from_json
from edgeflow.targets.engine_store import EngineRecord, Shapes, save_engine
from edgeflow.targets.parent import end_with_parent
from edgeflow.targets.plugin_registry import load_plugins
from edgeflow.targets.tensorrt_log import Log, check_version, made, process_log

TYPES = {
    "fp32": ("Float", "FP32"),
    "fp16": ("Half", "FP16"),
    "bf16": ("BF16", "BFloat16"),
    "int8": ("Int8", "INT8"),
}
"""How the inspector of TensorRT 10 and 11 calls a type."""


def build(job: EngineJob) -> None:
    """Build an engine and write it with its record.

    Raises:
        BackendError: TensorRT refuses the graph, finds no implementation, or cannot read back what it built.
        BundleError: the engine cannot be written.
    """
    check_version()
    start = perf_counter()
    log = process_log()
    where = f"TensorRT {trt.__version__}, {job.spec.graph}"
    if job.plugin_library:
        load_plugins(job.plugin_library, job.spec.plugins)
    data = _plan(job, log, where)
    layers = _layers(data, log, where)
    record = EngineRecord(
        job.spec.source,
        job.spec.outputs,
        job.spec.profiles,
        Path(job.plugin_library).name if job.plugin_library else "",
        len(data),
        hashlib.sha256(data).hexdigest(),
        perf_counter() - start,
        layers,
        tuple(_remarks(layers, job.spec.precision, log.skipped)),
    )
    save_engine(Path(job.engine), data, record)


def _plan(job: EngineJob, log: Log, where: str) -> bytes:
    """The engine, serialised. What built it is gone when this returns, so that reading it back finds the memory free."""
    builder = made(trt.Builder, log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(job.graph):
        raise BackendError(f"{where}: {_parser_errors(parser) or log.reason}")
    _leave_out(network, job.spec.outputs)
    config, cache = _configured(builder, network, job)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"{where}: no engine could be built: {log.reason}; if memory ran out, close other programs, add swap "
            "for the build, or export with fewer static batches"
        )
    data = bytes(plan)
    _save_cache(config, job.timing_cache)
    del cache  # TensorRT reads it until the build is done
    return data


def _leave_out(network: trt.INetworkDefinition, wanted: Collection[str]) -> None:
    """Let the engine write the wanted outputs alone."""
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    for tensor in outputs:
        if tensor.name not in wanted:
            network.unmark_output(tensor)


def _configured(
    builder: trt.Builder, network: trt.INetworkDefinition, job: EngineJob
) -> tuple[trt.IBuilderConfig, trt.ITimingCache]:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.max_aux_streams = 0
    if job.spec.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    cache = config.create_timing_cache(_known_cache(Path(job.timing_cache)))
    if cache is None or not config.set_timing_cache(
        cache, ignore_mismatch=False
    ):  # damaged, or another device's
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


def _known_cache(path: Path) -> bytes:
    """The builder's measurements, if it was this machine that wrote them."""
    known = path.read_bytes() if path.is_file() else b""
    return known if was_built_here(hashlib.sha256(known).hexdigest()) else b""


def _save_cache(config: trt.IBuilderConfig, path: str) -> None:
    data = bytes(config.get_timing_cache().serialize())
    record_built(hashlib.sha256(data).hexdigest())
    write_atomically(Path(path), data)


def _layers(data: bytes, log: Log, where: str) -> Mapping[str, int]:
    """How many layers write each type, as the engine itself says."""
    engine = made(trt.Runtime, log).deserialize_cuda_engine(data)
    if engine is None:
        raise BackendError(f"{where}: the engine that was built cannot be read back: {log.reason}")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return layer_types(json.loads(text))


def layer_types(information: Mapping[str, Any]) -> Mapping[str, int]:
    """Outputs of layers by their type, from the inspector's JSON of TensorRT 10 or 11."""
    found: Counter[str] = Counter()
    for layer in information.get("Layers", []):
        for output in (layer.get("Outputs") if isinstance(layer, dict) else None) or ():
            text = str(output.get("DataType") or output.get("Format/Datatype") or "")
            names = [name for name, words in TYPES.items() if re.search(rf"\b({'|'.join(words)})\b", text)]
            found[names[0] if names else "other"] += 1
    return dict(found)


def _remarks(layers: Mapping[str, int], wanted: str, skipped: int) -> Iterator[str]:
    """What of a build is worth knowing. The graph itself says every type, so types that differ are no error.

    An engine that TensorRT fused into one node shows no type but those of its outputs.
    """
    if not layers:
        yield "the engine says nothing of its layers' types"
    elif not layers.get(wanted):
        built = ", ".join(f"{count} at {name}" for name, count in layers.items())
        yield f"no layer says that it writes {wanted} ({built})"
    if skipped:
        yield f"{skipped} tactics were skipped for want of memory, so the engine may be slow: free some, build --anew"


def main(parent: str) -> int:
    """Build the job that stdin holds; an error goes to stderr as one line."""
    end_with_parent(int(parent))
    try:
        build(job_from_json(sys.stdin.read()))
    except EdgeflowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
