"""What a call of a session did: routes, engines, times, padding."""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.ir.route import Choice
from edgeflow.runtime.rows import Array


@dataclass(frozen=True)
class RegionTrace:
    """A region's patch of the frame in pixels (bottom and right exclusive) and the route it took."""

    top: int
    left: int
    bottom: int
    right: int
    route: dict[str, Choice]


@dataclass(frozen=True)
class EngineTrace:
    """One engine's work in one call.

    Attributes:
        stage: name of the stage.
        graph: id of the graph.
        regions: regions it ran for.
        batches: static batch sizes that covered them.
        ms: time in the engine library.
    """

    stage: str
    graph: str
    regions: int
    batches: tuple[int, ...]
    ms: float


@dataclass(frozen=True)
class Trace:
    """One call.

    Attributes:
        regions: patches and routes; one region for models without tiles.
        choices: per decision variable, the value every region took.
        engines: in the order run.
        flops: of the engines' work, padding included.
        total_ms: of the whole call.
        gathered: rows that were copied to form a batch.
    """

    regions: tuple[RegionTrace, ...]
    choices: dict[str, list[Choice]]
    engines: tuple[EngineTrace, ...]
    flops: int
    total_ms: float
    gathered: int

    @property
    def engines_ms(self) -> float:
        """Time in the engine library."""
        return sum(engine.ms for engine in self.engines)


@dataclass(frozen=True)
class Result:
    """Outputs of a call: images (h, w, 3) uint8, tensors without batch dimension."""

    outputs: tuple[Array, ...]
    trace: Trace
