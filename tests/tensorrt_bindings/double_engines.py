"""Plans and engines of the doubles: a plan holds its graph, an engine computes it by ONNX Runtime, bfloat16 in float32."""

from __future__ import annotations

import ctypes
import json
import os
import time
import zlib
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from double_graphs import inferred
from double_log import faulty

NUMPY = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    16: np.uint16,
}
WORDS = {1: "FP32", 2: "UInt8", 3: "Int8", 6: "Int32", 7: "Int64", 9: "Bool", 10: "FP16", 16: "BF16"}
BFLOAT16 = 16
MAGIC = b"DOUBLEPLAN"


@dataclass
class Engine:
    """A deserialised plan: its graph, what the plan says of it, and what runs it once it ran."""

    model: onnx.ModelProto
    head: dict[str, Any]
    session: Any = None
    elements: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        infos = (*self.model.graph.input, *self.model.graph.output)
        self.elements = {info.name: info.type.tensor_type.elem_type for info in infos}

    def infer(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        """Outputs by name; bfloat16 is uint16 on both sides."""
        if self.session is None:
            kinds = {tensor.data_type for tensor in self.model.graph.initializer} | set(
                self.elements.values()
            )
            self.session = _Widened(self) if BFLOAT16 in kinds else _onnx_runtime(self.model)
        made: list[Any] = self.session.run(names, feeds)
        return made


def plan_of(net: str, model: onnx.ModelProto, profiles: Any, config: dict[str, str], version: str) -> bytes:
    """A plan as bytes."""
    head = json.dumps({"version": version, "net": net, "profiles": profiles, "config": config}).encode()
    body = zlib.compress(model.SerializeToString(), 1)
    return MAGIC + len(head).to_bytes(4, "little") + head + body


def engine_of(data: bytes) -> Engine | None:
    """The engine in a plan; None if these bytes are no plan."""
    if not data.startswith(MAGIC):
        return None
    first = len(MAGIC) + 4
    size = int.from_bytes(data[len(MAGIC) : first], "little")
    return Engine(
        onnx.load_from_string(zlib.decompress(data[first + size :])), json.loads(data[first : first + size])
    )


def _onnx_runtime(model: onnx.ModelProto) -> Any:
    import onnxruntime as ort

    from edgeflow.export.plugins.bodies import with_bodies

    if any(node.domain == "edgeflow" for node in model.graph.node):
        model = with_bodies(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.add_session_config_entry(
        "session.disable_quant_qdq", "1"
    )  # rounds as the graph says, whatever can be fused
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class _Widened:
    """Computes in float32 a graph that holds bfloat16, which ONNX Runtime does not on a processor; its edges stay bfloat16."""

    def __init__(self, engine: Engine) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(engine.model)
        del model.graph.value_info[:]
        for info in (*model.graph.input, *model.graph.output):
            if info.type.tensor_type.elem_type == BFLOAT16:
                info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        for tensor in model.graph.initializer:
            if tensor.data_type == BFLOAT16:
                values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == BFLOAT16:
                    attribute.i = onnx.TensorProto.FLOAT
        self._session, self._elements = _onnx_runtime(model), engine.elements

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        """See `Engine.infer`."""
        from edgeflow.ir.bfloat16 import from_held, to_held

        held = {name for name, element in self._elements.items() if element == BFLOAT16}
        wide = {
            name: from_held(array, "bfloat16") if name in held else array for name, array in feeds.items()
        }
        made = self._session.run(names, wide)
        pairs = zip(names, made, strict=True)
        return [to_held(array, "bfloat16") if name in held else array for name, array in pairs]


def layers_of(engine: Engine, version: str) -> str:
    """What the inspector says, in the words of TensorRT 10 or 11; DOUBLE_INSPECT: `foreign`, `plain`."""
    style, types = os.environ.get("DOUBLE_INSPECT", "layers"), inferred(engine.model)[0]
    nodes = [(node.name, list(node.output)) for node in engine.model.graph.node]
    if style == "foreign":  # one node takes all, and writes the network's outputs alone
        nodes = [("{ForeignNode[all]}", [info.name for info in engine.model.graph.output])]
    weak = engine.head["config"].get("weak")
    layers: list[Any] = []
    for name, outputs in nodes:
        words = ["FP32" if weak else WORDS.get(types.get(tensor, 1), "FP32") for tensor in outputs]
        told = [
            {
                "Name": tensor,
                **({"DataType": word} if version.startswith("11") else {"Format/Datatype": word}),
            }
            for tensor, word in zip(outputs, words, strict=True)
        ]
        layers.append({"Name": name, "LayerType": "x", "Inputs": [], "Outputs": told})
    return json.dumps({"Layers": [layer["Name"] for layer in layers] if style == "plain" else layers})


def run_at(engine: Engine, name: str, tensors: str) -> str:
    """Run an engine on memory: a line I or O, name, address, dimensions each; gives layers' times and what is wrong."""
    from edgeflow.ir.bfloat16 import from_held

    feeds, outputs, said = {}, {}, []
    for line in tensors.splitlines():
        tag, tensor, address, dims = line.split("\t")
        array = _array(int(address), [int(size) for size in dims.split(",")], engine.elements[tensor])
        (feeds if tag == "I" else outputs)[tensor] = array
    for tensor, array in feeds.items():
        floats = from_held(array, "bfloat16") if engine.elements[tensor] == BFLOAT16 else array
        if floats.dtype.kind == "f" and not np.isfinite(floats).all():
            said.append(f"ERR\tinput {tensor} of {name} has values that are not finite (fresh memory is NaN)")
    start = time.perf_counter()
    made = engine.infer(list(outputs), {tensor: np.ascontiguousarray(a) for tensor, a in feeds.items()})
    ms = (time.perf_counter() - start) * 1e3
    wrong = any(faulty(node.op_type, name) for node in engine.model.graph.node)
    for (tensor, target), array in zip(outputs.items(), made, strict=True):
        if (array.shape, array.dtype) != (target.shape, target.dtype):
            said.append(
                f"ERR\toutput {tensor}: {array.shape} {array.dtype}, bound as {target.shape} {target.dtype}"
            )
            continue
        target[...] = array + array.dtype.type(wrong)
    nodes = engine.model.graph.node
    return "\n".join(said + [f"L\t{node.name}\t{ms / len(nodes):.6f}" for node in nodes[:50]])


def _array(address: int, dims: list[int], element: int) -> Any:
    dtype = np.dtype(NUMPY[element])
    raw = (ctypes.c_uint8 * (prod(dims) * dtype.itemsize)).from_address(address)
    return np.ctypeslib.as_array(raw).view(dtype).reshape(dims)
