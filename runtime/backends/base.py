"""What an engine library must offer the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from edgeflow.ir.plan import Port
from edgeflow.runtime.backends.memory import Memory

Array: TypeAlias = Any
"""An array of the backend's memory; numpy's where that is the host's."""


@dataclass(frozen=True)
class OperatorTime:
    """Milliseconds in all operators of one kind, summed over an engine's runs.

    `kind` is the library's own name, such as `Conv` or `GroupConvolution`; a native kernel's ends in ` kernel`.
    """

    kind: str
    ms: float


class Engine(Protocol):
    """One loaded graph. It serves every batch size; memory is the caller's."""

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Read the inputs and write the outputs, in the graph's order, without copies.

        Every array is C-contiguous; all have the same number of rows.
        """

    def operators(self) -> tuple[OperatorTime, ...]:
        """Time per kind of operator over all runs until now, which ends the timing.

        Nothing if the backend does not time operators.
        """


class SharedEngine(Engine, Protocol):
    """An engine whose loaded graph can run for several frames at a time."""

    def twin(self, twins: dict[int, object]) -> SharedEngine:
        """The same loaded graph, for another frame in flight.

        Args:
            twins: what was made for that frame so far, by what it is a twin of; engines that share memory keep it there.
        """


class Backend(Protocol):
    """An engine library in this process, the memory that its engines read and write, and the CPU threads they use.

    One opened with `timed` loads engines that time their operators: they run slower and are for
    profiles only.

    Attributes:
        loads_at_once: calls of `load` that may run at a time, from threads.
        joins: it is a `JoiningBackend`.
        accelerator: in words, what engines run on if that is not the processor, as far as measurements depend on it.
    """

    name: str
    version: str
    threads: int
    loads_at_once: int
    joins: bool
    accelerator: str
    memory: Memory

    def load(
        self,
        path: Path,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        dims: Mapping[str, int],
        precision: str = "fp32",
        batch: int | None = None,
    ) -> Engine:
        """Load a graph file.

        Args:
            path: ONNX file; its weights lie beside it.
            inputs: its inputs, in the order `run` gets them.
            outputs: the outputs wanted, in the order `run` gets them.
            dims: values for the free dimensions of the frame. The batch stays free, and so does a
                dimension that is not among them.
            batch: rows of every run, where they are always as many: a static engine is faster.
            precision: `fp32`; `fp16` and `int8`, where the graph itself is typed or quantises; or `bf16`,
                where the library computes an fp32 graph in bfloat16.

        Raises:
            BackendError: the library refuses the graph, or would run it at another precision.
        """


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file, and the inputs and outputs wanted of it, in the order that `run` gets them."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class JoiningBackend(Backend, Protocol):
    """One that can load engines of which one runs at a time as one: they share its memory."""

    def load_joined(self, graphs: Sequence[GraphFile], dims: Mapping[str, int]) -> Sequence[SharedEngine]:
        """Load fp32 graph files for one row each; their outputs are of equal shapes and types.

        Args:
            graphs: their weights lie beside them.
            dims: as for `load`; every dimension must be known.

        Returns:
            An engine per file.

        Raises:
            BackendError: the library refuses a graph.
        """


class KeepingBackend(Backend, Protocol):
    """One whose library makes models for the processor, which a bundle may keep.

    Attributes:
        build: of the library, more exact than its version.
        keeps: what has to be made is put into its bundle, for later sessions (`edgeflow build`).
    """

    build: str
    keeps: bool
