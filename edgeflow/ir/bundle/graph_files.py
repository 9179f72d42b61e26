"""Compares a bundle's graph files with what its manifest says of them, before an engine library sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Protocol

from edgeflow.ir.errors import BundleError
from edgeflow.ir.onnx_file import TYPES, GraphTensor, OnnxFile, read_onnx
from edgeflow.ir.plan import Port, StageGraph

WEIGHTS = "graphs/weights.bin"
"""The weights that all graphs share, in a bundle."""


class Placed(Protocol):
    """A constant in the weight file: float32, see `edgeflow.ir.bundle.Constant`."""

    @property
    def offset(self) -> int:
        """Its first byte."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""


def check_graph_files(
    folder: Path,
    sizes: Mapping[str, int],
    used: Mapping[str, Sequence[StageGraph]],
    placed: Mapping[str, Sequence[Placed]],
) -> None:
    """Look into every ONNX file: data outside it lies in the bundle's weights, and its tensors are what the plans say.

    Args:
        folder: the bundle's.
        sizes: bytes of every file, by path.
        used: what plans say of a file's graph, by path.
        placed: constants of the kernel that may run instead of it, by path.

    Raises:
        BundleError: names the file, and what in it is not so.
    """
    for name in sizes:
        if not name.endswith(".onnx"):
            continue
        try:
            found = read_onnx(folder / name)
        except ValueError as error:
            raise BundleError(f"bundle {folder}: {name} cannot be read: {error}; export it again") from error
        faults = [*_outside(found, sizes[WEIGHTS] if name.startswith("graphs/") else -1)]
        for graph in used.get(name, ()):
            faults += _ports(graph.inputs, found.inputs, "input")
            faults += _ports((*graph.outputs, *graph.exact, *graph.means), found.outputs, "output")
            faults += [
                f"its input {own.name!r} is no port"
                for own in found.inputs
                if own.name not in _names(graph.inputs)
            ]
        faults += _constants(found, placed.get(name, ()))
        if faults:
            raise BundleError(f"bundle {folder}: {name}: {'; '.join(faults[:5])}; do not trust this bundle")


def _outside(found: OnnxFile, weights: int) -> Iterator[str]:
    """External data in another file than the bundle's weights, or beyond its end."""
    for tensor in found.external:
        length = tensor.bytes if tensor.length < 0 else tensor.length
        if tensor.location != "weights.bin" or weights < 0:
            yield f"the data of {tensor.name!r} lies in {tensor.location!r}, outside the bundle's weights"
        elif tensor.bytes < 0 or length != tensor.bytes or tensor.offset + length > weights:
            yield f"the data of {tensor.name!r} is not as long as its shape says, or lies beyond the end of the weights"


def _ports(ports: Sequence[Port], tensors: Sequence[GraphTensor], kind: str) -> Iterator[str]:
    """Ports that the file does not have like this."""
    known = {tensor.name: tensor for tensor in tensors}
    for port in ports:
        tensor = known.get(port.tensor)
        if tensor is None:
            yield f"it has no {kind} {port.tensor!r}"
        elif tensor.type != TYPES[port.dtype]:
            yield f"its {kind} {port.tensor!r} is not {port.dtype}"
        elif len(tensor.shape) != 1 + len(port.shape) or any(
            isinstance(own, int) and own != side
            for own, side in zip(tensor.shape[1:], port.shape, strict=True)
        ):
            yield f"its {kind} {port.tensor!r} is {_words(tensor.shape[1:])} a region, not {_words(port.shape)}"


def _constants(found: OnnxFile, placed: Sequence[Placed]) -> Iterator[str]:
    """Constants of a kernel that are not the graph's own."""
    own = {(tensor.offset, tensor.bytes) for tensor in found.external}
    for constant in placed:
        if (constant.offset, 4 * prod(constant.shape)) not in own:
            yield f"its kernel reads other weights than the graph, at {constant.offset}"


def _names(ports: Sequence[Port]) -> set[str]:
    return {port.tensor for port in ports}


def _words(shape: Sequence[int | str]) -> str:
    return "x".join(str(side) or "?" for side in shape) or "one number"
