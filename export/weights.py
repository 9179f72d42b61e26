"""One weight file for all graphs, by content hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from edgeflow.export.heavy import is_heavy, without_initialisers
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.passes.untie_weights import UNTIED
from edgeflow.ir.bundle import Constant, Kernel
from edgeflow.ir.files import write_atomically

PAGE = 4096
"""Alignment of tensors of a page or more, so that they can be mapped; smaller ones take 64."""


@dataclass
class WeightFile:
    """Tensors laid out one after the other, each content once.

    Attributes:
        unique_bytes: of the distinct tensors, without the gaps between them.
    """

    name: str
    unique_bytes: int = 0
    _blocks: list[bytes] = field(default_factory=list)
    _size: int = 0
    _places: dict[str, tuple[int, int]] = field(default_factory=dict)

    def externalised(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
        """A copy of a model whose large initialisers lie in this file, and their bytes.

        Untied copies stay where they are: at one place in this file they would be one constant again.
        """
        made, moved = without_initialisers(model), 0
        for tensor in model.graph.initializer:
            if not is_heavy(tensor) or tensor.name.endswith(UNTIED):
                made.graph.initializer.append(tensor)
                continue
            offset, length = self._place(tensor.raw_data)
            moved += length
            light = made.graph.initializer.add(
                name=tensor.name,
                data_type=tensor.data_type,
                dims=tensor.dims,
                data_location=onnx.TensorProto.EXTERNAL,
            )
            for key, value in (("location", self.name), ("offset", offset), ("length", length)):
                light.external_data.add(key=key, value=str(value))
        return made, moved

    def add_kernel(self, draft: KernelDraft) -> Kernel:
        """A kernel whose constants lie in this file."""
        return Kernel(
            draft.name,
            tuple(
                Constant(name, self._place(np.ascontiguousarray(value, np.float32).tobytes())[0], value.shape)
                for name, value in draft.constants.items()
            ),
        )

    def write(self, path: Path) -> None:
        """Write the file anew: an engine may still hold an older one of this name in its memory map."""
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            file.writelines(self._blocks)

    def _place(self, data: bytes) -> tuple[int, int]:
        key = hashlib.sha256(data).hexdigest()
        if key not in self._places:
            step = PAGE if len(data) >= PAGE else 64
            gap = -self._size % step
            self._places[key] = (self._size + gap, len(data))
            self._blocks += [bytes(gap), data]
            self._size += gap + len(data)
            self.unique_bytes += len(data)
        return self._places[key]


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, and its weights beside it, where `onnx.load` and engine libraries look for them."""
    weights = WeightFile(f"{path.stem}.weights")
    light, _ = weights.externalised(model)
    weights.write(path.with_name(weights.name))
    write_atomically(path, light.SerializeToString())
