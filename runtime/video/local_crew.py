"""Workers that are processes of this machine, each with a session of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from types import TracebackType

from edgeflow.runtime.video.batch import Said, Task, performed
from edgeflow.runtime.video.making import Maker, Recipe

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    pipe: Connection


class LocalCrew:
    """Processes that are there within a `with` block, and end with this one, however it ends.

    Args:
        recipe: how films are made.
        size: how many processes.
    """

    def __init__(self, recipe: Recipe, size: int) -> None:
        self._recipe, self.size = recipe, size
        self._workers: dict[int, _Worker] = {}
        self._busy: set[int] = set()

    def give(self, worker: int, task: Task) -> None:
        """Have a worker do a task; it is started first if it is not there."""
        if worker not in self._workers:
            self._workers[worker] = self._start()
        self._busy.add(worker)
        with suppress(OSError):  # it died meanwhile, which `wait` says
            self._workers[worker].pipe.send(task)

    def wait(self) -> tuple[int, Said]:
        """Wait until a worker is done with its task, or dead."""
        while True:
            pipes = {worker.pipe: number for number, worker in self._workers.items()}
            for pipe in wait(list(pipes)):
                assert isinstance(pipe, Connection)
                number = pipes[pipe]
                try:
                    said: Said = pipe.recv()
                except (EOFError, OSError):
                    said = Said(fault=self._bury(number), again=True)
                if number in self._busy:
                    self._busy.discard(number)
                    return number, said

    def __enter__(self) -> LocalCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(_PATIENCE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")  # engines' threads do not survive a fork
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, self._recipe), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here)

    def _bury(self, number: int) -> str:
        """Forget a worker that is dead; says how it died."""
        worker = self._workers.pop(number)
        worker.pipe.close()
        worker.process.join(_PATIENCE_SECONDS)
        code = worker.process.exitcode
        if code is None:
            worker.process.kill()
            worker.process.join()
        if code is None or code >= 0:
            return f"its worker ended with code {code}"
        out_of_memory = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its worker was ended by {signal.Signals(-code).name}{out_of_memory}"


def _work(pipe: Connection, recipe: Recipe) -> None:
    """What a worker process does: a task after the other, until there are no more."""
    for name in ("SIGINT", "SIGHUP"):  # a terminal sends these to all; the one that gives tasks decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    maker: Maker | None = None
    while True:
        try:
            task: Task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            maker = maker or Maker(recipe)
            said = performed(maker, task)
        except Exception as error:  # the bundle or library is gone since the command began
            said = Said(fault=str(error))
        pipe.send(said)


def _end_with_parent() -> None:
    """End at once when the process that gives the tasks is gone: nobody would take what is made."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
