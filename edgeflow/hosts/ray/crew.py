"""Actors of a Ray cluster as a crew. Films, bundle and results are at the same paths on all its machines: a shared folder."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edgeflow.ir.errors import InputError
from edgeflow.ir.installing import with_extras
from edgeflow.runtime.video.batch import Said, Task, performed
from edgeflow.runtime.video.making import Maker, Recipe

try:
    import ray
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise InputError(
        f"--engine ray needs Ray ({error.name} is not installed): {with_extras('ray')}"
    ) from error

_SECONDS = 10.0
"""That a cluster's machine may take to answer: Ray itself goes on trying for minutes."""
_PORT = re.compile(r"(?:ray://)?(?P<host>[^/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


class Worker:
    """One actor: a session, and the film that it reads."""

    def __init__(self, recipe: Recipe) -> None:
        self._maker = Maker(recipe)

    def perform(self, task: Task) -> Said:
        """Do a task, see `performed`."""
        return performed(self._maker, task)


class RayCrew:
    """So many actors; one that dies is replaced, on whichever machine there is room.

    Args:
        recipe: how films are made.
        size: how many actors.
    """

    def __init__(self, recipe: Recipe, size: int) -> None:
        self.size = size
        self._recipe = recipe
        # Whatever is lost is given anew by those who wait for it, who count: Ray shall not do so by itself.
        self._kind = ray.remote(num_cpus=recipe.threads, max_restarts=0, max_task_retries=0)(Worker)
        self._actors: dict[int, Any] = {}
        self._running: dict[Any, int] = {}

    def give(self, worker: int, task: Task) -> None:
        """Have an actor do a task; it is started first if it is not there."""
        if worker not in self._actors:
            self._actors[worker] = self._kind.remote(self._recipe)
        self._running[self._actors[worker].perform.remote(task)] = worker

    def wait(self) -> tuple[int, Said]:
        """Wait until an actor is done with its task, or dead."""
        (first, *_), _ = ray.wait(list(self._running), num_returns=1)
        worker = self._running.pop(first)
        try:
            said: Said = ray.get(first)
        except RayError as error:
            del self._actors[worker]
            return worker, Said(fault=_why(error), again=True)
        return worker, said


@contextmanager
def ray_crew(recipe: Recipe, size: int | None, threads: int, address: str | None) -> Iterator[RayCrew]:
    """A crew that is there within a `with` block.

    Args:
        recipe: how films are made.
        size: how many actors; as many as the cluster has room for if None.
        threads: CPU threads of each.
        address: of the cluster; that of $RAY_ADDRESS, or one that is begun here, if None.

    Raises:
        InputError: the cluster does not answer, or has no room for a worker.
    """
    _connect(address)
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < threads:
            raise InputError(
                f"no machine of the Ray cluster is known to have {threads} cores for a worker: give fewer --threads"
            )
        yield RayCrew(replace(recipe, threads=threads), size or cores // threads)
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    quiet = {"include_dashboard": False} if address is None else {}
    try:
        if address and (place := _PORT.fullmatch(address)):
            socket.create_connection((place["host"].strip("[]"), int(place["port"])), _SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError, OverflowError, RayError) as error:
        where = f"at {address}" if address else "here"
        said = " ".join(str(error).split())
        raise InputError(
            f"no Ray cluster answers {where}: begin one there (ray start --head), check --address, or leave it out to begin "
            f"one here ({said[:200]})"
        ) from error


def _why(error: Exception) -> str:
    """How an actor was lost, in a line."""
    said = " ".join(str(error).split())
    return f"its worker was lost ({said[:300]})"
