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
    """An engine library in this process, and the CPU threads that its engines use."""

    name: str
    version: str
    threads: int

    def load(
        self, path: Path, inputs: Sequence[Port], outputs: Sequence[Port], dims: Mapping[str, int]
    ) -> Engine:
        """Load a graph file.

        Args:
            path: ONNX file; its weights lie beside it.
            inputs: its inputs, in the order `run` gets them.
            outputs: the outputs wanted, in the order `run` gets them.
            dims: values for the free dimensions of the frame. The batch stays free, and so does a
                dimension that is not among them.

        Raises:
            BackendError: the library refuses the graph.
        """
