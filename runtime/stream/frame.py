"""What is known while one frame runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.stream.finite import Means
from edgeflow.runtime.stream.rows import Array, Rows
from edgeflow.runtime.stream.trace import ChainTrace, EngineTrace, Span


@dataclass
class Frame:
    """What is known while one frame runs. Regions stand in route order once routed.

    Spans are kept by the marks of their ends, since on a device what was enqueued is not done yet.
    """

    inputs: Mapping[str, Array]
    memory: Memory
    start: Any
    values: dict[str, Rows] = field(default_factory=dict)
    routes: dict[str, NDArray[np.intp]] = field(default_factory=dict)
    tiles: dict[str, tuple[str, str]] = field(default_factory=dict)
    order: dict[str, NDArray[np.intp]] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)
    kept: dict[str, Rows] = field(default_factory=dict)
    engines: list[tuple[EngineTrace, list[int]]] = field(default_factory=list)
    means: list[Means] = field(default_factory=list)
    marks: list[tuple[str, str, Any, Any]] = field(default_factory=list)
    chains: list[ChainTrace] = field(default_factory=list)
    flops: int = 0
    gathered: int = 0

    def spent(self, kind: str, name: str, start: Any) -> int:
        """Note a span that began at the mark `start` and ends now; returns its number."""
        self.marks.append((kind, name, start, self.memory.mark()))
        return len(self.marks) - 1

    def spans(self) -> tuple[Span, ...]:
        """The spans, when all is done."""
        between = self.memory.between
        return tuple(
            Span(kind, name, between(self.start, start), between(start, end))
            for kind, name, start, end in self.marks
        )
