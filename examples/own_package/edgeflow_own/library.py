"""An engine library: ONNX's reference evaluator, which computes each operator in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from edgeflow.ir.errors import BackendError
from edgeflow.ir.libraries import Library
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.base import Array, OperatorTime
from edgeflow.runtime.backends.memory import HostMemory, Memory

LIBRARY = Library(
    "onnx-reference",
    packages=("onnx",),
    install="pip install onnx",
    backend="edgeflow_own.library:ReferenceBackend",
)


class ReferenceBackend:
    """Follows `edgeflow.runtime.backends.base.Backend`."""

    name = "onnx-reference"
    accelerator = ""
    version = onnx.__version__

    def __init__(self, threads: int, timed: bool = False) -> None:
        self.memory: Memory = HostMemory()
        self.threads, self.loads_at_once, self.joins = threads, 1, False

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> ReferenceEngine:
        """See `Backend.load`."""
        if precision != "fp32":
            raise BackendError(
                f"onnx-reference computes in fp32, not {precision}: export with --precision fp32"
            )
        return ReferenceEngine(ReferenceEvaluator(onnx.load(path)), inputs, outputs)


class ReferenceEngine:
    """Follows `edgeflow.runtime.backends.base.Engine`."""

    def __init__(
        self, evaluator: ReferenceEvaluator, inputs: Sequence[Port], outputs: Sequence[Port]
    ) -> None:
        self._evaluator = evaluator
        self._inputs, self._outputs = [p.tensor for p in inputs], [p.tensor for p in outputs]

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Engine.run`."""
        made = self._evaluator.run(self._outputs, dict(zip(self._inputs, inputs, strict=True)))
        for output, array in zip(outputs, made, strict=True):
            np.copyto(output, array)

    def operators(self) -> tuple[OperatorTime, ...]:
        """Nothing: it times no operators."""
        return ()
