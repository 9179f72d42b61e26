"""Flows compiled for a while, to be run and timed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeflow.flow.module import RoutedModule
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.errors import BackendError, InputError
from edgeflow.runtime import Session
from edgeflow.targets import Target

RUNS = 5
ENOUGH_S = 4.0
"""Seconds after which two runs are enough."""


@contextmanager
def compiled(model: RoutedModule, target: Target, exact: bool = False) -> Iterator[Session]:
    """A session of a model, for as long as the block runs.

    Raises:
        InputError: its target does not run on this machine.
    """
    from edgeflow.export.compile import compile_model

    with TemporaryDirectory(prefix="edgeflow-") as folder:
        bundle = Path(folder) / "model.edgeflow"
        made = compile_model(
            model.eval(), target, bundle, reference={}, strategy="chained", compare=False, goldens=False
        )
        try:
            session = Session(
                Bundle(bundle, made.manifest), exact=exact
            )  # without goldens it is no bundle on disk
        except BackendError as error:
            raise InputError(
                f"routes are tuned by what they take, and {target.name} does not run here ({error}): wrap for a target that does"
            ) from error
        with session:
            yield session


def in_turn(runs: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median milliseconds of each of some runs, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    begun = perf_counter()
    for number in range(RUNS):
        if number >= 2 and perf_counter() - begun > ENOUGH_S:
            break
        for name, run in runs.items():
            start = perf_counter()
            run()
            times[name].append((perf_counter() - start) * 1e3)
    return {name: median(each) for name, each in times.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: what is small is only slower on more, most of all where others use the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cropped(call: Sequence[NDArray[np.uint8]], side: int) -> tuple[NDArray[np.uint8], ...]:
    """A tile of every frame of a call."""
    return tuple(np.ascontiguousarray(frame[:side, :side]) for frame in call)
