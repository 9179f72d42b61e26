"""Jobs in forked processes: all done, or left to the caller."""

import gc
import multiprocessing
import os
import time
from functools import partial

import numpy as np
import pytest
from routed_models import small

from edgeflow.export import workers
from edgeflow.export.compile import compile_model
from edgeflow.export.lowering import graphs
from edgeflow.export.workers import do_in_processes
from edgeflow.runtime import Session
from edgeflow.targets import load


def jobs_of(folder, count, special=None):
    def job(number):
        if special and number == 1:
            special()
        (folder / str(number)).write_text(str(os.getpid()))

    return [partial(job, number) for number in range(count)]


def made(folder):
    return {int(file.name) for file in folder.iterdir()}


def test_every_job_is_done_once_and_elsewhere(tmp_path):
    do_in_processes(jobs_of(tmp_path, 20), 2, lambda: len(made(tmp_path)))
    assert made(tmp_path) == set(range(20))
    assert str(os.getpid()) not in {file.read_text() for file in tmp_path.iterdir()}


def fail():
    raise ValueError("no")


@pytest.mark.parametrize("special", [fail, lambda: os._exit(1)])
def test_a_job_that_fails_is_left_to_the_caller(tmp_path, special):
    do_in_processes(jobs_of(tmp_path, 6, special), 2, lambda: len(made(tmp_path)))
    assert made(tmp_path) == {0, 2, 3, 4, 5}


def test_processes_that_hang_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    begin = time.monotonic()
    do_in_processes(jobs_of(tmp_path, 6, lambda: time.sleep(600)), 2, lambda: len(made(tmp_path)))
    assert made(tmp_path) == {0, 2, 3, 4, 5}
    assert time.monotonic() - begin < 60 and not multiprocessing.active_children()


def test_engines_among_the_callers_garbage_are_left_alone(tmp_path, small_bundle, monkeypatch):
    """They would wait for their threads, which did not come along."""
    _, compiled = small_bundle("Shortcut", "chained")
    session = Session(compiled.path)
    session.run(np.zeros((16, 24, 3), np.uint8))
    gc.collect()
    gc.disable()
    try:
        session.itself = session
        del session
        monkeypatch.setattr(workers, "PATIENCE", 10.0)
        do_in_processes(jobs_of(tmp_path, 4, gc.collect), 2, lambda: len(made(tmp_path)))
    finally:
        gc.enable()
    assert made(tmp_path) == {0, 1, 2, 3}


def test_an_interrupted_caller_ends_them(tmp_path):
    def interrupt():
        if made(tmp_path):
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        do_in_processes(jobs_of(tmp_path, 6, lambda: time.sleep(600)), 2, interrupt)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_export_is_the_same_with_processes_and_without(tmp_path, monkeypatch):
    model, written = small("Shortcut"), {}
    for count in (2, 0):
        monkeypatch.setattr(graphs, "processes_for", lambda jobs, count=count: count)
        monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path / f"cache{count}"))
        output = tmp_path / f"{count}.edgeflow"
        compile_model(model, load("cpu"), output, reference={}, strategy="chained")
        files = [file for file in output.rglob("*") if file.is_file() and file.name != "manifest.json"]
        written[count] = {file.relative_to(output): file.read_bytes() for file in files}
        assert any((tmp_path / f"cache{count}").iterdir())
    assert written[0] == written[2]
