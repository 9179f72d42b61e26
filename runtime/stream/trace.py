"""What a call of a session did: routes, engines, times, padding."""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.ir.route import Choice
from edgeflow.runtime.stream.rows import Array


@dataclass(frozen=True)
class RegionTrace:
    """A region's patch of the frame in pixels (bottom and right exclusive), the route it took, and the work of the engines on it."""

    top: int
    left: int
    bottom: int
    right: int
    route: dict[str, Choice]
    flops: int


@dataclass(frozen=True)
class EngineTrace:
    """One engine's work in one call.

    Attributes:
        stage: name of the stage.
        graph: id of the graph.
        key: of the plan's graph: graphs that differ in nothing but shapes share an id.
        regions: regions it ran for.
        batches: static batch sizes that covered them.
        ms: time in the engine library.
        flops: of one region.
        patches: share of its regions' pixels that lie in their patches, not in a halo; 1 without tiles.
    """

    stage: str
    graph: str
    key: str
    regions: int
    batches: tuple[int, ...]
    ms: float
    flops: int
    patches: float


@dataclass(frozen=True)
class ChainTrace:
    """A chain that was run before its decisions were made.

    Attributes:
        graph: id of its graph.
        left: the first variable that was decided otherwise, after which its steps were run apart; None if there was none.
    """

    graph: str
    left: str | None


@dataclass(frozen=True)
class Span:
    """A piece of a call's time.

    Attributes:
        kind: `engine`, `gather` (a batch formed), `cut` (tiles), `stitch` or `keep` (a state written).
        name: of the graph, the tiled value, the stitched one or the state.
        start_ms: since the call began.
        ms: how long it took.
    """

    kind: str
    name: str
    start_ms: float
    ms: float


@dataclass(frozen=True)
class Trace:
    """One call.

    Attributes:
        regions: patches and routes; one region for models without tiles, and where a frame took a route on which tiles decide nothing.
        choices: per decision variable, the value every region took.
        engines: in the order run.
        flops: of the engines' work, padding included.
        total_ms: of the whole call.
        gathered: rows that were copied to form a batch.
        spans: engine runs and copies, in order; what lies between them is Python.
        chains: that were run, in order, and whether what they were built for was decided.
    """

    regions: tuple[RegionTrace, ...]
    choices: dict[str, list[Choice]]
    engines: tuple[EngineTrace, ...]
    flops: int
    total_ms: float
    gathered: int
    spans: tuple[Span, ...]
    chains: tuple[ChainTrace, ...] = ()

    @property
    def engines_ms(self) -> float:
        """Time in the engine library."""
        return sum(engine.ms for engine in self.engines)

    def spent(self, *kinds: str) -> float:
        """Milliseconds in spans of these kinds."""
        return sum(span.ms for span in self.spans if span.kind in kinds)


@dataclass(frozen=True)
class Result:
    """Outputs of a call: images (h, w, 3) uint8, tensors without batch dimension."""

    outputs: tuple[Array, ...]
    trace: Trace
