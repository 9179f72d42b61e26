"""What an engine library must offer the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from edgeflow.ir.plan import Port

Array: TypeAlias = NDArray[Any]


class Engine(Protocol):
    """One loaded graph. It serves every batch size; memory is the caller's."""

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Read the inputs and write the outputs, in the graph's order, without copies.

        Every array is C-contiguous; all have the same number of rows.
        """


class Backend(Protocol):
    """An engine library in this process."""

    name: str
    version: str

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
    ) -> Engine:
        """Load a graph file.

        Args:
            path: ONNX file; its weights lie beside it.
            inputs: its inputs, in the order `run` gets them.
            outputs: the outputs wanted, in the order `run` gets them.
            dims: values for the free dimensions of the frame; the batch stays free.
            precision: `fp32`; `bf16`, where the library computes an fp32 graph in bfloat16; or `int8`,
                where the graph itself quantises.

        Raises:
            BackendError: the library refuses the graph, or would run it at another precision.
        """
