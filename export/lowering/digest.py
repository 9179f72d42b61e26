"""A hash of a model: its weights, what else it holds, and the code it comes from."""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
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

    Source is every file outside the installed libraries that the modules' classes come from, or that these name.
    """
    digest = hashlib.sha256(f"{own_code()} {torch.__version__} {onnx.__version__}".encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {_described(tensor, set())}".encode())
    for name, module in model.named_modules():
        held = {key: value for key, value in vars(module).items() if key not in _TORCHS}
        digest.update(f"{name} {type(module).__qualname__} {_described(held, set())}".encode())
    for source in _sources({type(module) for module in model.modules()}):
        digest.update(source.encode())
    return digest.hexdigest()


def _described(value: Any, seen: set[int]) -> str:
    """A value in words: plain values and tensors as they are, others by their type and by what they hold."""
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(data.tobytes()).hexdigest()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, torch.fx.Graph):
        return value.python_code("self").src  # its nodes are a linked list, which is deep
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
    else:
        inside = [f"{key}: {_described(item, seen)}" for key, item in getattr(value, "__dict__", {}).items()]
    return f"{kind} [{', '.join(inside)}]"


def _sources(classes: set[type]) -> Iterator[str]:
    """The text of every file, by the names of their modules."""
    found: dict[str, str] = {}
    ahead = {base.__module__ for kind in classes for base in inspect.getmro(kind)}
    while ahead:
        name = ahead.pop()
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if name in found or file is None or file.startswith(_INSTALLED):
            continue
        try:
            found[name] = Path(file).read_text()
        except (OSError, UnicodeDecodeError):
            continue
        for value in list(vars(module).values()):
            named = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(named, str):
                ahead.add(named)
    return iter(f"{name}\n{text}" for name, text in sorted(found.items()))
