"""Whether what a frame made is finite: a picture in bytes looks black or white where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeflow.ir.errors import BackendError
from edgeflow.ir.tiles import Region
from edgeflow.runtime.loading import LoadedGraph
from edgeflow.runtime.memory import Memory
from edgeflow.runtime.rows import Array


@dataclass(frozen=True)
class Means:
    """What one run said of the pictures that it made; see `edgeflow.ir.plan.MEANS`.

    Attributes:
        loaded: what ran.
        places: of its regions; it may have been fed more rows, to fill a batch.
        array: (rows, 3) float32, the means of the planes of each row's picture.
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
        finite = np.isfinite(means).all(axis=1)
        for place in (place for place, good in zip(run.places, finite, strict=False) if not good):
            raise BackendError(
                f"segment {', '.join(run.loaded.segments)}: its engine {run.loaded.graph.graph} made pixels that are not finite "
                f"in rows {place.top} to {place.bottom}, columns {place.left} to {place.right} of this frame: check the frame, "
                "the weights and the engine's precision (`edgeflow check`)"
            )
