"""A hash of a model: its weights, what else it holds, and the code it comes from."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgeflow.export.lowering.fingerprint import own_code

_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_TORCHS = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that every module has; what they hold comes by name."""


def model_digest(model: nn.Module) -> str:
    """Hash of a model's weights, settings and source, and of the versions that lower it.

    Source is every file outside the installed libraries that the modules' classes come from, or that these name. Classes count
    as they are, too: with attributes set, and variables closed over, where they were made.
    """
    digest = hashlib.sha256(f"{own_code()} {torch.__version__} {onnx.__version__}".encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {described(tensor)}".encode())
    for name, module in model.named_modules():
        held = {key: value for key, value in vars(module).items() if key not in _TORCHS}
        digest.update(f"{name} {type(module).__qualname__} {described(held)}".encode())
    classes = {type(module) for module in model.modules()}
    for line in sorted(_as_they_are(classes)):
        digest.update(line.encode())
    for source in _sources(classes):
        digest.update(source.encode())
    return digest.hexdigest()


def described(value: Any) -> str:
    """A value in words: plain values, tensors and functions as they are, others by their type and by what they hold."""
    return _described(value, set())


def _described(value: Any, seen: set[int]) -> str:
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(data.tobytes()).hexdigest()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, torch.fx.Graph):
        return value.python_code("self").src  # its nodes are a linked list, which is deep
    if isinstance(value, CodeType):
        return f"{value.co_code.hex()} {value.co_names} {_described(value.co_consts, seen)}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if id(value) in seen or isinstance(value, nn.Module | ModuleType | type):
        return f"{kind} {getattr(value, '__qualname__', '')}"
    seen.add(id(value))
    if isinstance(value, Mapping):
        inside = [f"{key!r}: {_described(item, seen)}" for key, item in value.items()]
    elif isinstance(value, set | frozenset):
        inside = sorted(_described(item, seen) for item in value)
    elif isinstance(value, list | tuple):
        inside = [_described(item, seen) for item in value]
    elif isinstance(value, FunctionType):
        held = inspect.getclosurevars(value).nonlocals
        inside = [f"{key} {_described(item, seen)}" for key, item in held.items()]
        inside += [_described(i, seen) for i in (value.__code__, value.__defaults__, value.__kwdefaults__)]
    elif isinstance(value, MethodType | BuiltinFunctionType):
        inside = [value.__qualname__, _described(value.__self__, seen)]
    elif isinstance(value, functools.partial):
        inside = [_described(item, seen) for item in (value.func, value.args, value.keywords)]
    else:
        inside = [f"{key}: {_described(item, seen)}" for key, item in getattr(value, "__dict__", {}).items()]
    return f"{kind} [{', '.join(inside)}]"


def _as_they_are(classes: set[type]) -> Iterator[str]:
    """What classes outside the installed libraries hold."""
    for kind in {base for one in classes for base in inspect.getmro(one)}:
        if not _file(kind.__module__).startswith(_INSTALLED):
            held = {name: value for name, value in vars(kind).items() if not name.startswith("__")}
            yield f"{kind.__module__}.{kind.__qualname__} {described(held)}"


def _file(module: str) -> str:
    """The file of a module; empty if it has none."""
    return getattr(sys.modules.get(module), "__file__", None) or ""


def _sources(classes: set[type]) -> Iterator[str]:
    """The text of every file, by the names of their modules."""
    found: dict[str, str] = {}
    ahead = {base.__module__ for kind in classes for base in inspect.getmro(kind)}
    while ahead:
        name = ahead.pop()
        file = _file(name)
        if name in found or not file or file.startswith(_INSTALLED):
            continue
        try:
            found[name] = Path(file).read_text()
        except (OSError, UnicodeDecodeError):
            continue
        for value in list(vars(sys.modules[name]).values()):
            named = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(named, str):
                ahead.add(named)
    return iter(f"{name}\n{text}" for name, text in sorted(found.items()))
