"""A hash of all that a captured segment's ONNX graph follows from, its weights' values left out.

Two captured segments with one fingerprint have the same operators on the same arguments, shapes and constants:
they become the same graph, whatever code they came from.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxscript
import torch
from torch._ops import OpOverload
from torch.export.graph_signature import InputKind

from edgeflow.ops.custom_op import PLAIN

KNOWN = ("aten", "prims")
"""Namespaces of operators whose ONNX form depends on nothing but the versions that are hashed; so do ours."""

_PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)
_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER)
_CODE = ("export", "ops", "targets", "ir")


class Unknown(Exception):
    """The graph holds something that cannot be hashed faithfully."""


def fingerprint(program: torch.export.ExportedProgram, settings: str) -> str | None:
    """The hash of a captured segment, of `settings`, and of the versions that lower it.

    Args:
        program: as captured, before decomposition.
        settings: what else its graph depends on.

    Returns:
        Hexadecimal; None if it holds something whose meaning is not known here, such as an operator of its own.
    """
    digest = hashlib.sha256(f"{_versions()}\n{settings}".encode())
    try:
        for line in _lines(program):
            digest.update(f"{line}\n".encode())
    except Unknown:
        return None
    return digest.hexdigest()


def weight_names(program: torch.export.ExportedProgram) -> list[str]:
    """Names of the parameters and buffers that a captured segment reads, in its order."""
    specs = program.graph_signature.input_specs
    return [spec.target for spec in specs if spec.kind in _WEIGHTS and spec.target is not None]


def weight(program: torch.export.ExportedProgram, name: str) -> torch.Tensor:
    """A parameter or buffer; those that are not saved with a model lie among the constants."""
    found = program.state_dict[name] if name in program.state_dict else program.constants[name]
    if not isinstance(found, torch.Tensor):
        raise Unknown(f"{name} is no tensor")
    return found


def _lines(program: torch.export.ExportedProgram) -> Iterator[str]:
    yield str(program.graph_signature)
    yield str(program.range_constraints)
    weights = weight_names(program)
    for name in weights:
        yield f"{name} {_tensor(weight(program, name))}"
    for name, constant in program.constants.items():
        if name not in weights:
            yield f"{name} {_content(constant)}"
    yield from _guards(program)
    yield from _graph(program.graph_module)


def _guards(program: torch.export.ExportedProgram) -> Iterator[str]:
    """What the capture assumed of symbolic sizes, and the sizes it had before it."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and (mode := getattr(value, "fake_mode", None)):
            if (shapes := mode.shape_env) is not None:
                yield f"{[str(guard.expr) for guard in shapes.guards]} {shapes.replacements}"
                yield f"{shapes.var_to_range} {shapes.deferred_runtime_asserts}"
            return


def _graph(module: torch.fx.GraphModule) -> Iterator[str]:
    for node in module.graph.nodes:
        arguments = f"{_argument(node.args)} {_argument(node.kwargs)}"
        yield f"{node.name} {node.op} {_target(node)} {arguments} {_value(node.meta.get('val'))}"
    for name, part in module.named_children():
        if not isinstance(part, torch.fx.GraphModule):
            raise Unknown(name)
        yield name
        yield from _graph(part)


def _target(node: torch.fx.Node) -> str:
    target = node.target
    if isinstance(target, str):
        if node.op in ("call_module", "call_method"):
            raise Unknown(target)
        return target
    if isinstance(target, OpOverload):
        own = getattr(PLAIN.get(target._schema.name), "__module__", "")
        if target.namespace not in KNOWN and not own.startswith("edgeflow."):
            raise Unknown(str(target))
        return f"{target} {target._schema}"
    module = getattr(target, "__module__", None) or ""
    if module in ("_operator", "math") or module.split(".")[0] == "torch":
        return f"{module}.{getattr(target, '__name__', type(target).__name__)}"
    raise Unknown(str(target))


def _argument(value: Any) -> str:
    if isinstance(value, torch.fx.Node):
        return f"%{value.name}"
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_argument(v)}" for k, v in value.items()) + "}"
    if isinstance(value, slice):
        return f"slice {_argument((value.start, value.stop, value.step))}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_argument(item) for item in value) + "]"
    raise Unknown(f"{type(value)}")


def _value(value: Any) -> str:
    """What a node makes: types and shapes, symbols by their names."""
    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return f"{type(value).__name__} {value}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return _argument(value)


def _tensor(tensor: torch.Tensor) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise Unknown(f"{tensor.layout}")
    shape, stride = [str(d) for d in tensor.shape], [str(s) for s in tensor.stride()]
    return f"{tensor.dtype} {shape} {stride} {tensor.device} {tensor.requires_grad}"


def _content(constant: Any) -> str:
    if not isinstance(constant, torch.Tensor):
        raise Unknown(f"{type(constant)}")
    described = _tensor(constant)
    data = constant.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{described} {hashlib.sha256(data.tobytes()).hexdigest()}"


def _versions() -> str:
    """What lowers segments: libraries, this package's own code, and settings of the process."""
    libraries = (torch.__version__, onnx.__version__, onnxscript.__version__, onnx_ir.__version__)
    settings = (torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled())
    return f"{libraries} {np.__version__} {sys.version} {settings} {own_code()}"


@lru_cache(maxsize=1)
def own_code() -> str:
    """Hash of the code that lowers segments."""
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for folder in _CODE:
        for file in sorted((package / folder).rglob("*.py")):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
