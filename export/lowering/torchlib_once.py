"""Lets torch.onnx read its translation library once.

It reads the whole of it anew for every export, which takes 0.4 s of every segment: more than the segment
itself, for most. What is kept is what it read; every export gets a registry of its own to add to.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from torch.onnx._internal.exporter._registration import ONNXRegistry

_read = ONNXRegistry.from_torchlib


@lru_cache(maxsize=4)
def _known(opset: int) -> Any:
    return _read(opset_version=opset)


def _own(opset_version: int) -> Any:
    registry = copy.copy(_known(opset_version))
    registry.functions = {target: list(metas) for target, metas in registry.functions.items()}
    return registry


@contextmanager
def torchlib_once() -> Iterator[None]:
    """Within it, exports share what the first one read."""
    setattr(ONNXRegistry, "from_torchlib", staticmethod(_own))  # noqa: B010
    try:
        yield
    finally:
        setattr(ONNXRegistry, "from_torchlib", _read)  # noqa: B010
