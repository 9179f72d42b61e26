"""What TensorRT says, and its builders and runtimes with a reason where it makes none."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import tensorrt as trt

from edgeflow.ir.errors import BackendError
from edgeflow.targets.target import numbers

OLDEST = (10, 1)
"""Strong typing, IPluginV3, DeformConv and the `_v2` names came by then."""

_SHORT = re.compile(r"insufficient memory|memory is insufficient", re.IGNORECASE)
"""How TensorRT words that it left out a tactic that it had no memory to time."""

_Made = TypeVar("_Made")


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's errors, to be quoted, and counts tactics that it skipped for want of memory."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []
        self.skipped = 0

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(msg.strip())
        elif _SHORT.search(msg):
            self.skipped += 1

    def begin(self) -> None:
        """Forget the errors of what was done before, so that what is done next is given its own reason."""
        self.errors.clear()
        self.skipped = 0

    @property
    def reason(self) -> str:
        """The first error, which mostly causes the others."""
        return self.errors[0] if self.errors else "TensorRT gave no reason"


@lru_cache(maxsize=1)
def process_log() -> Log:
    """The log of this process. TensorRT keeps the first one that it is given, so it must never go."""
    return Log()


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


def made(kind: Callable[[Log], _Made], log: Log) -> _Made:
    """A builder or a runtime, with TensorRT's own plugins registered, some of which stand behind ONNX operators.

    Raises:
        BackendError: TensorRT makes none, as when CUDA does not start.
    """
    try:
        found = kind(log)
    except TypeError as error:  # the bindings' word for a null pointer
        raise BackendError(
            f"TensorRT {trt.__version__} does not start: {log.reason}; is the GPU visible, and is memory free?"
        ) from error
    _register_stock_plugins()
    return found


@lru_cache(maxsize=1)
def _register_stock_plugins() -> None:
    log: Any = process_log()  # the bindings take a logger, and call its type a capsule
    trt.init_libnvinfer_plugins(log, "")
