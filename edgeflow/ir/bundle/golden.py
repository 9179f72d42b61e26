"""Golden vectors: which elements of an output they keep, where they lie, and what they must hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.arrays import read_arrays
from edgeflow.ir.errors import BundleError
from edgeflow.ir.plan import Plan

SAMPLES = 8192
"""Elements of an output that are kept, spread evenly over the whole tensor."""


def sampled(array: NDArray[Any]) -> NDArray[Any]:
    """The elements that a golden keeps: at most `SAMPLES`, flat."""
    flat = array.reshape(-1)
    if flat.size <= SAMPLES:
        return flat
    return flat[np.linspace(0, flat.size - 1, SAMPLES).astype(np.int64)]


def sizes_file(golden: str, kind: str) -> str:
    """Where a graph's golden vectors at other sizes of a kind of frames lie: `HEIGHTxWIDTH/in.NAME`, `HEIGHTxWIDTH/out.NAME`."""
    return f"{golden.removesuffix('.npz')}-{kind}-sizes.npz"


def clip_file(kind: str) -> str:
    """Where the golden calls of a kind of frames lie: `CALL.in.NUMBER`, `CALL.out.NUMBER`, `CALL.route.VARIABLE`."""
    return f"golden/clip-{kind}.npz"


def read_clip(bundle: Path, kind: str, plan: Plan) -> dict[str, NDArray[Any]]:
    """The golden calls of a plan: inputs, outputs and routes.

    Raises:
        BundleError: there are none, or they are not of this plan.
    """
    file = bundle / clip_file(kind)
    arrays = read_arrays(file)
    calls = len({name.split(".")[0] for name in arrays})
    if not calls:
        raise BundleError(f"{file} holds no calls: export the bundle again")
    for call in map(str, range(calls)):
        inputs = [f"{call}.in.{i}" for i in range(len(plan.inputs))]
        routes = [f"{call}.route.{variable.name}" for variable in plan.variables]
        require(file, arrays, (*inputs, *routes, *(f"{call}.out.{i}" for i in range(len(plan.outputs)))))
    return arrays


def require(file: Path, arrays: Mapping[str, NDArray[Any]], names: Iterable[str]) -> None:
    """Refuse golden vectors that lack something.

    Raises:
        BundleError: names the first that is missing.
    """
    missing = next((name for name in names if name not in arrays), None)
    if missing is not None:
        raise BundleError(f"{file} lacks {missing!r}: export the bundle again")
