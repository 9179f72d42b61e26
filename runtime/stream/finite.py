"""Whether what a frame made is finite: a picture in bytes looks black or white where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeflow.ir.errors import BackendError
from edgeflow.ir.tiles import Region
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.stream.loading import LoadedGraph
from edgeflow.runtime.stream.rows import Array


@dataclass(frozen=True)
class Means:
    """What one run said of the pictures that it made; see `edgeflow.ir.plan.MEAN`.

    Attributes:
        loaded: what ran.
        places: of its regions; it may have been fed more rows, to fill a batch.
        array: (rows,) float32, the mean of each row's picture.
    """

    loaded: LoadedGraph
    places: Sequence[Region]
    array: Array


def check_output(name: str, output: Array) -> None:
    """Refuse an output of floats that holds what is no number.

    Raises:
        BackendError: it holds NaN or infinity.
    """
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        raise BackendError(
            f"the output {name} is not finite in this frame: check the frame, the weights and the engines' precision "
            "(`edgeflow check`)"
        )


def check_pictures(runs: Sequence[Means], memory: Memory) -> None:
    """Refuse pictures that hold what is no number.

    Raises:
        BackendError: names the engine, its segments and the first such region.
    """
    for run, means in zip(runs, memory.download_all([run.array for run in runs]), strict=True):
        for place in (place for place, mean in zip(run.places, means, strict=False) if not np.isfinite(mean)):
            raise BackendError(
                f"segment {', '.join(run.loaded.segments)}: its engine {run.loaded.graph.graph} made pixels that are not finite "
                f"in rows {place.top} to {place.bottom}, columns {place.left} to {place.right} of this frame: check the frame, "
                "the weights and the engine's precision (`edgeflow check`)"
            )
