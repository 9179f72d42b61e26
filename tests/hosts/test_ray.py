"""A Ray cluster on this machine whose workers are killed while they make a film."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: the extra `ray`")

from scene_film import LOSSLESS, make_film, pictures_of, sound_of

from edgeflow.hosts.ray import ray_crew
from edgeflow.ir.errors import InputError
from edgeflow.runtime import Session
from edgeflow.runtime.video.batch import Batch
from edgeflow.runtime.video.convert import Options
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.films import Job
from edgeflow.runtime.video.making import Recipe


def workers_here() -> list[int]:
    """Processes of actors whose cluster this process began."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            named = (place / "cmdline").read_bytes().startswith(b"ray::Worker")
            raylet = parent_of(int(place.name)) if named else 0
            if raylet and parent_of(raylet) == os.getpid():
                found.append(int(place.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def parent_of(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers under /proc, as Linux has it")
def test_killed_workers_lose_nothing(tiny_bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")  # of 15 they get nothing where other tests take all cores
    film = make_film(tmp_path / "film.mkv", 44)
    bundle = Path(tiny_bundles["chained"].path)
    whole = tmp_path / "whole.mkv"
    with Session(bundle, threads=1) as session:
        task = session.bundle.manifest.task
        convert_film(session, task, film, whole, options=Options(LOSSLESS))
    recipe = Recipe(bundle, encoding=LOSSLESS, span=4)
    job, killed, said = Job(film, tmp_path / "made.mkv"), [], []

    def kill_one(done: int, known: int) -> None:
        if done in (1, 4) and len(killed) < 2:
            killed.extend(workers_here()[:1])
            os.kill(killed[-1], signal.SIGKILL)

    with ray_crew(recipe, 2, 1, None) as crew:
        work = Batch([job], crew, lambda film: None, said.append, kill_one)
        work.run()
    assert work.films[job].done, work.films[job].failed
    assert len(killed) == 2 and work.again >= 1 and any("its worker was lost" in line for line in said)
    assert pictures_of(job.output) == pictures_of(whole) and sound_of(job.output) == sound_of(film)


def test_a_cluster_that_does_not_answer(tmp_path):
    with (
        pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"),
        ray_crew(Recipe(tmp_path), 1, 1, "127.0.0.1:9"),
    ):
        pass
