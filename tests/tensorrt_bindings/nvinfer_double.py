"""What the C++ double of libnvinfer asks: texts and bytes in, texts and bytes out. Imported by it, inside the process it is in.

A text that begins with ERR is an error, which the double logs as TensorRT would.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import operator
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import onnx
from double_engines import Engine, engine_of, layers_of, plan_of, run_at
from double_graphs import check_rules, tensors_of, walk_plugins, with_outputs
from double_log import faulty, say, violation

NETS: dict[str, onnx.ModelProto] = {}
ENGINES: dict[str, Engine] = {}

_Asked = TypeVar("_Asked", bound=Callable[..., Any])


def _told(asked: _Asked) -> _Asked:
    """An exception would be lost in C++, so it is logged as a violation."""

    def answer(*arguments: Any) -> Any:
        try:
            return asked(*arguments)
        except Exception:
            violation(f"the double failed: {traceback.format_exc()}")
            raise

    return answer  # type: ignore[return-value]


def version() -> str:
    """Of the bindings that this process imports."""
    import tensorrt

    return str(tensorrt.__version__)


@_told
def parse(path: str) -> str:
    """Load a graph; OK and its key, then its tensors."""
    name = os.path.basename(path)
    if faulty("parse", name):
        return "ERR\tMystery\t0/Mystery_3\tno importer registered for op: Mystery"
    model = onnx.load(path)
    check_rules(model, name, tuple(int(part) for part in version().split(".")[:2]))
    for problem in walk_plugins(model):
        return f"ERR\tplugin\t{name}\t{problem}"
    key = f"{hashlib.sha256(model.SerializeToString()).hexdigest()[:12]}:{name}"
    NETS[key] = model
    return f"OK\t{key}\n{tensors_of(model)}"


@_told
def build(net: str, profiles: str, config: str) -> bytes:
    """A plan of a parsed graph; profiles are lines of name, least, best, largest, each closed by a line `--`."""
    name = net.split(":", 1)[1]
    told = dict(line.split("\t") for line in config.splitlines())
    if told["strong"] != "1":
        violation(f"{name} is not strongly typed")
    for kind, number in (("kill", signal.SIGKILL), ("segv", signal.SIGSEGV), ("abort", signal.SIGABRT)):
        if faulty(kind, name):
            os.kill(os.getpid(), number)
    if faulty("slow", name):
        time.sleep(float(os.environ.get("DOUBLE_SLOW", "5")))
    if faulty("build", name):
        return b"ERR\tError Code 10: Internal Error (Could not find any implementation for node Conv_0.)"
    model = with_outputs(NETS[net], told["outputs"].split(","))
    found = [_profile(block) for block in profiles.split("--\n") if block.strip()]
    inputs = [line.split("\t") for line in tensors_of(model).splitlines() if line.startswith("I")]
    for profile in found:
        if set(profile) != {line[1] for line in inputs}:
            violation(f"a profile names {set(profile)}, the inputs are {inputs}")
    for _, tensor, _, _, dims in inputs:
        fixed = [int(size) for size in dims.split(",")]
        for profile in found:
            least = profile[tensor][0]
            if len(fixed) != len(least) or any(a not in (-1, b) for a, b in zip(fixed, least, strict=True)):
                return f"ERR\tprofile of {tensor}: {least} does not fit {fixed}".encode()
    if any("-1" in line[4] for line in inputs) and not found:
        return b"ERR\tNetwork has dynamic inputs but no optimization profile has been defined"
    if faulty("weak", name):
        told["weak"] = "1"
    say(f"build {name} {told} profiles {len(found)}")
    return plan_of(net, model, found, told, version())


def _profile(block: str) -> dict[str, list[list[int]]]:
    """(least, best, largest) shape by tensor."""
    profile = {}
    for line in block.splitlines():
        tensor, *shapes = line.split("\t")
        profile[tensor] = [[int(size) for size in shape.split(",")] for shape in shapes]
    return profile


@_told
def deserialise(address: int, size: int) -> str:
    """Read a plan; OK, its key, bytes of activations and number of profiles, then its tensors."""
    data = ctypes.string_at(address, size)
    engine = engine_of(data)
    if engine is None or faulty("deserialise", engine.head["net"]):
        return "ERR\tError Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.)"
    if engine.head["version"] != version():
        return (
            f"ERR\tThe engine plan file is not compatible with this version of TensorRT, expecting library version "
            f"{version()} got {engine.head['version']}, please rebuild."
        )
    key = f"{engine.head['net']}#{len(ENGINES)}"
    profiles = engine.head["profiles"]
    rows = max((profile[next(iter(profile))][2][0] for profile in profiles), default=1)
    memory = 4096 + 65536 * rows + 512 * len(engine.model.graph.node)
    ENGINES[key] = engine
    return f"OK\t{key}\t{memory}\t{max(len(profiles), 1)}\n{tensors_of(engine.model)}"


@_told
def fits(engine: str, profile: int, name: str, dims: str) -> str:
    """OK if a profile takes a shape."""
    given = [int(size) for size in dims.split(",")]
    profiles = ENGINES[engine].head["profiles"]
    if not profiles:
        return "OK"
    least, _, largest = profiles[profile][name]
    inside = all(a <= size <= b for a, size, b in zip(least, given, largest, strict=False))
    if len(least) == len(given) and inside:
        return "OK"
    return f"Error Code 3: API Usage Error (setInputShape: {given} is not in profile {profile}: {least} to {largest})"


@_told
def shape(engine: str, name: str, shapes: str) -> str:
    """Dimensions of an output, given those of the inputs; -1 where they are not known."""
    known = {line.split("\t")[0]: line.split("\t")[1].split(",") for line in shapes.splitlines()}
    graph = ENGINES[engine].model.graph
    symbols = {
        dim.dim_param: int(size)
        for info in graph.input
        for dim, size in zip(info.type.tensor_type.shape.dim, known.get(info.name, []), strict=False)
        if dim.dim_param
    }
    output = next(info for info in graph.output if info.name == name)
    dims = output.type.tensor_type.shape.dim
    return ",".join(
        str(d.dim_value if d.HasField("dim_value") else _size(d.dim_param, symbols)) for d in dims
    )


_FUNCTIONS: Mapping[str, Any] = {
    "Min": min, "Max": max, "TruncToInt": int, "FloorToInt": math.floor, "CeilToInt": math.ceil, "ToFloat": float, "PythonMod": operator.mod,
    "Mod": operator.mod,
}  # fmt: skip
"""What the exporter writes sizes with that follow others: a parser computes them from the graph."""


def _size(expression: str, symbols: Mapping[str, int]) -> int:
    """A size that is named, or an expression of such; -1 where it is not known."""
    try:
        return int(eval(expression, {"__builtins__": {}}, {**_FUNCTIONS, **symbols}))
    except (NameError, SyntaxError, TypeError):
        return -1


@_told
def inspect(engine: str, form: int) -> str:
    """The inspector's JSON."""
    return layers_of(ENGINES[engine], version())


@_told
def run(engine: str, tensors: str) -> str:
    """Run an engine: see `run_at`."""
    return run_at(ENGINES[engine], engine, tensors)
