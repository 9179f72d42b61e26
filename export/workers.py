"""Does independent jobs in forked processes, where that is safe and worth it.

Models come from files and interpreters that another process could not load them from, so that they are inherited
by a fork, not sent. What a job makes it leaves on disk. A job that no process did is left to the caller, who then sees
its error where it happens.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import torch

FEWEST = 4
"""Jobs for which starting processes pays."""

PATIENCE = 300.0
"""Seconds in which nothing is finished after which processes are taken to hang."""


def processes_for(jobs: int) -> int:
    """How many processes to start for so many jobs; none where they would not pay or a fork is not safe."""
    if sys.platform != "linux" or jobs < FEWEST:
        return 0
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    count = min(len(os.sched_getaffinity(0)), jobs)
    return count if count > 1 else 0


def do_in_processes(jobs: Sequence[Callable[[], None]], count: int, progress: Callable[[], int]) -> None:
    """Do jobs in `count` forked processes, each taking the next one; returns when all are done or given up.

    Args:
        jobs: one call each. An error ends the job, and is not told.
        count: of processes.
        progress: called now and then; says how much is done so far.
    """
    context = multiprocessing.get_context("fork")
    taken = context.Value("i", 0)
    parent = os.getpid()
    workers = [context.Process(target=_work, args=(jobs, taken, parent), daemon=True) for _ in range(count)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # threads of ours hold no locks that jobs take
            for worker in workers:
                worker.start()
        done, since = progress(), monotonic()
        while any(worker.is_alive() for worker in workers) and monotonic() - since < PATIENCE:
            next(worker for worker in workers if worker.is_alive()).join(0.1)
            if (now := progress()) != done:
                done, since = now, monotonic()
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.kill()
                worker.join()


def _work(jobs: Sequence[Callable[[], None]], taken: Any, parent: int) -> None:
    """Take jobs until none is left or the process that wants them is gone."""
    gc.freeze()  # an engine among the parent's garbage would wait for its threads, which are not in this process
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_IGN)  # the parent hears it, and ends its processes
    torch.set_num_threads(1)  # the threads of the parent's pool are not in this process
    while os.getppid() == parent:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(jobs):
            return
        with contextlib.suppress(Exception):
            jobs[number]()
