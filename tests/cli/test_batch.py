"""`edgeflow batch`: films in pieces by several workers come out as one run makes them, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scene_film import LOSSLESS, make_film, pictures_of, sound_of

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.films import Job
from edgeflow.runtime.video.making import Maker, Recipe
from edgeflow.runtime.video.rate import parse_fps
from edgeflow.runtime.video.writing.span_parts import SpanParts

pytestmark = pytest.mark.slow

MODELS = Path(__file__).parents[1] / "film_models.py"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv", 44)


@pytest.fixture
def bundle_of(export_kept, small_bundle, tmp_path_factory):
    def get(name: str) -> Path:
        if name == "Shortcut":
            return Path(small_bundle(name, "chained")[1].path)
        path = tmp_path_factory.getbasetemp() / f"batch-{name}.edgeflow"
        return path if path.exists() else export_kept(path, MODELS, name, "--target", "cpu")

    return get


@pytest.mark.parametrize(
    "name,options,least",
    [
        ("four_frames", {}, 6),  # a call reads one frame before and two after
        ("four_frames", {"times": 4}, 6),
        ("any_time", {"fps": "47"}, 6),  # the film's clock, which remembers, says where pictures stand
        ("any_time", {"spread": True}, 3),
        ("larger", {}, 6),
        ("Shortcut", {}, 3),  # what it keeps is forgotten at cuts, and only there it is cut
    ],
)
def test_pieces_made_in_any_order_are_one_run(edgeflow, bundle_of, film, tmp_path, name, options, least):
    bundle, whole = bundle_of(name), tmp_path / "whole.mkv"
    words = [word for key, value in options.items() for word in (f"--{key}", value) if word is not True]
    said = edgeflow("run", bundle, film, "-o", whole, "--codec", "ffv1", "--threads", 1, *words)
    assert said.code == 0, said.err
    given = {**options, **({"fps": parse_fps(options["fps"])} if "fps" in options else {})}
    recipe = Recipe(bundle, threads=1, encoding=LOSSLESS, span=4, **given)
    job, maker = Job(film, tmp_path / "made.mkv"), Maker(recipe)
    plan = maker.look(job)
    assert plan.frames == 44 and plan.cuts >= 3 and len(plan.spans) >= least
    made = [maker.make(job, span) for span in (*plan.spans[::2], *plan.spans[1::2])]
    maker.join(job)
    assert pictures_of(job.output) == pictures_of(whole), "pixels and times"
    assert sound_of(job.output) == sound_of(whole) == sound_of(film)
    assert sum(piece.written for piece in made) == len(pictures_of(whole))
    assert not SpanParts(job.output).folder.exists()


def test_a_film_without_times_is_one_piece(bundle_of, film, tmp_path):
    maker = Maker(Recipe(bundle_of("any_time"), span=4))
    assert len(maker.look(Job(film, tmp_path / "made.avi")).spans) == 1


def test_pieces_of_another_film_are_not_joined(bundle_of, film, tmp_path):
    bundle, job = bundle_of("any_time"), Job(film, tmp_path / "made.mkv")
    Maker(Recipe(bundle, span=4)).look(job)
    assert len(Maker(Recipe(bundle, span=9)).look(job).spans) > 5, "what was planned stays"
    with pytest.raises(
        VideoError,
        match=r"of another run, with other --times or --fps: ",
    ):
        Maker(Recipe(bundle, times=3)).look(job)
    with pytest.raises(VideoError, match=r"other --fix, --policy or --quality \(none before, exit=5 now\): "):
        Maker(Recipe(bundle, span=4, what={"policy": ["exit=5"]})).look(job)
    with pytest.raises(VideoError, match="pieces are missing"):
        Maker(Recipe(bundle)).join(job)


@pytest.fixture
def folder(tmp_path, film):
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.mkv", "b.mkv"):
        (films / name).symlink_to(film)
    return films


def batch(bundle: Path, folder: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    """The command in a process of its own, with small pieces."""
    code = "import edgeflow.cli.batch as b; b.SPAN = 4\nfrom edgeflow.cli import main; main()"
    words = ["batch", bundle, folder, "-o", out, "--codec", "ffv1", "--workers", "2", "--json", *options]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers under /proc, as Linux has it")
def test_killed_workers_and_a_killed_driver_lose_nothing(edgeflow, bundle_of, folder, film, tmp_path):
    bundle, out, whole = bundle_of("any_time"), tmp_path / "out", tmp_path / "whole.mkv"
    began = batch(bundle, folder, out)
    pieces = lambda: list(out.glob("*.parts/*.nut"))  # noqa: E731
    wait_for(lambda: len(pieces()) >= 1)
    os.kill(workers_of(began)[0], signal.SIGKILL)
    before = len(pieces())
    wait_for(lambda: len(pieces()) > before + 2 or any(out.glob("*.mkv")))
    left = workers_of(began)
    began.kill()
    _, said = began.communicate(timeout=60)
    assert "ended by SIGKILL" in said, said
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))  # they end with it
    kept = len(pieces())
    again = batch(bundle, folder, out)
    told, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    answer = json.loads(told)
    assert sorted(answer["done"] + answer["skipped"]) == ["a.mkv", "b.mkv"] and not answer["failed"]
    assert answer["pieces"]["kept"] == kept > 0
    assert edgeflow("run", bundle, film, "-o", whole, "--codec", "ffv1", "--threads", 1).code == 0
    for name in ("a.mkv", "b.mkv"):
        assert pictures_of(out / name) == pictures_of(whole), name
    assert sorted(path.name for path in out.iterdir()) == ["a.mkv", "b.mkv", "edgeflow-films.json"]


def test_a_piece_that_no_worker_survives_is_named(monkeypatch, bundle_of, folder, tmp_path):
    """Every worker that makes frames 8 to 12 of a film is killed as one out of memory is."""
    bundle = bundle_of("any_time")
    place = tmp_path / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "    from edgeflow.runtime.video.making import Maker\n"
        "    make = Maker.make\n"
        "    def killed(self, job, span):\n"
        "        if job.source.name == 'a.mkv' and span.first == 8: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return make(self, job, span)\n"
        "    Maker.make = killed\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(place))
    told, said = (began := batch(bundle, folder, tmp_path / "out")).communicate(timeout=120)
    answer = json.loads(told)
    assert began.returncode == 1 and answer["done"] == ["b.mkv"], said
    assert (
        "piece 1 (frame 8 to" in answer["failed"]["a.mkv"] and "3 workers failed" in answer["failed"]["a.mkv"]
    )
    assert answer["pieces"]["again"] == 2 and (tmp_path / "out" / "a.mkv.parts").is_dir()
    monkeypatch.delenv("PYTHONPATH")
    told, said = (began := batch(bundle, folder, tmp_path / "out")).communicate(timeout=120)
    assert began.returncode == 0 and json.loads(told)["done"] == ["a.mkv"], said


def test_what_is_refused(edgeflow, bundle_of, export_kept, folder, tmp_path):
    bundle, out = bundle_of("any_time"), tmp_path / "out"
    assert "holds no films" in edgeflow("batch", bundle, tmp_path, "-o", out).err
    assert "no such file or folder" in edgeflow("batch", bundle, tmp_path / "gone", "-o", out).err
    assert "add --engine ray" in edgeflow("batch", bundle, folder, "-o", out, "--address", "x:1").err
    assert "a batch has none" in edgeflow("batch", bundle, folder, "-o", out, "--policy", "budget").err
    assert "the folder that is read" in edgeflow("batch", bundle, folder, "-o", folder).err
    labels = export_kept(tmp_path / "labels.edgeflow", MODELS, "labels", "--target", "cpu")
    assert "use `edgeflow run`" in edgeflow("batch", labels, folder, "-o", out).err


def test_run_and_batch_know_each_others_films(edgeflow, bundle_of, folder, tmp_path):
    bundle, out = bundle_of("any_time"), tmp_path / "out"
    assert edgeflow("run", bundle, folder, "-o", out).code == 0
    said = edgeflow("batch", bundle, folder, "-o", out, "--json")
    assert json.loads(said.out)["skipped"] == ["a.mkv", "b.mkv"], said.err
    said = edgeflow("batch", bundle, folder, "-o", out, "--times", 3)
    assert said.code == 1 and "made with no --times where now --times 3 is asked for" in said.err
    said = edgeflow("batch", bundle, folder, "-o", out, "--spread")
    assert said.code == 1 and "made with no --spread where now --spread is asked for" in said.err
