"""A folder of films through `edgeflow run`, and `edgeflow cache`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import pytest

from edgeflow.ir.bundle import open_bundle
from edgeflow.runtime.backends.base import GraphFile
from edgeflow.runtime.backends.compiled_from import CompiledFrom
from edgeflow.runtime.backends.openvino_backend import OpenVinoBackend
from edgeflow.runtime.backends.openvino_store import keep_compiled
from edgeflow.runtime.session import Session
from edgeflow.runtime.video.writing import film_writer

MODELS = Path(__file__).parents[1] / "film_models.py"


def times_of(path):
    with av.open(str(path)) as film:
        return [frame.time for frame in film.decode(video=0)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def bundle(export_kept, place):
    path = place / "any_time.edgeflow"
    return path if path.exists() else export_kept(path, MODELS, "any_time", "--target", "cpu")


@pytest.fixture
def folder(tmp_path, clip):
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.mp4", "c.mkv", "d.ts"):
        shutil.copyfile(clip, films / name)
    (films / "b.mp4").write_bytes(b"no film" * 40)
    (films / "notes.txt").write_text("not a film")
    return films


def test_one_that_fails_stops_no_other_and_what_is_done_is_left_out(edgeflow, bundle, folder, tmp_path):
    out = tmp_path / "made"
    said = edgeflow("run", bundle, folder, "-o", out, "--threads", 1)
    assert said.code == 1 and "3 films made, 0 were done, 1 failed" in said.err
    assert "b.mp4" in said.err.splitlines()[-1] and "cannot be read as a video" in said.err.splitlines()[-1]
    made = sorted(path.name for path in out.iterdir())
    assert made == ["a.mp4", "c.mkv", "d.ts.mkv", "edgeflow-films.json"]
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    (folder / "b.mp4").unlink()
    shutil.copyfile(folder / "a.mp4", folder / "e.mp4")
    said = edgeflow("run", bundle, folder, "-o", out, "--threads", 2, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out) == {"done": ["e.mp4"], "skipped": ["a.mp4", "c.mkv", "d.ts"], "failed": {}}
    assert all((out / name).stat().st_mtime_ns == before[name] for name in ("a.mp4", "c.mkv", "d.ts.mkv"))
    said = edgeflow("run", bundle, folder, "-o", out, "--times", 3)
    assert said.code == 1 and "made with no --times where now --times 3 is asked for" in said.err
    assert edgeflow("run", bundle, folder, "-o", out, "--times", 3, "--overwrite").code == 0


def test_a_fault_of_ours_stops_no_other(edgeflow, bundle, folder, tmp_path, monkeypatch):
    run, calls = Session.run, []

    def faulty(self, *inputs):
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError("by nothing")
        return run(self, *inputs)

    (folder / "b.mp4").unlink()
    monkeypatch.setattr(Session, "run", faulty)
    said = edgeflow("run", bundle, folder, "-o", tmp_path / "made", "--json")
    assert said.code == 1
    told = json.loads(said.out)
    assert (
        told["done"] == ["c.mkv", "d.ts"]
        and "ZeroDivisionError: by nothing (a fault" in told["failed"]["a.mp4"]
    )
    said = edgeflow("run", bundle, folder, "-o", tmp_path / "made", "--json")
    assert json.loads(said.out)["done"] == ["a.mp4"], said.err


def test_a_stop_is_gone_on_with(edgeflow, bundle, folder, tmp_path, monkeypatch):
    (folder / "b.mp4").unlink()
    whole, out = tmp_path / "whole", tmp_path / "made"
    monkeypatch.setattr(film_writer, "FRAMES", 4)
    assert edgeflow("run", bundle, folder, "-o", whole).code == 0
    run, calls = Session.run, []

    def stopped(self, *inputs):
        calls.append(1)
        if len(calls) == 14:  # eight calls a film: in the second
            raise KeyboardInterrupt
        return run(self, *inputs)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "run", stopped)
        assert edgeflow("run", bundle, folder, "-o", out).code == 130
    assert (out / "a.mp4").exists() and (out / "c.mkv.parts").is_dir() and not (out / "d.ts.mkv").exists()
    said = edgeflow("run", bundle, folder, "-o", out, "--json")
    assert json.loads(said.out) == {"done": ["c.mkv", "d.ts"], "skipped": ["a.mp4"], "failed": {}}, said.err
    assert not (out / "c.mkv.parts").exists()
    for name in ("a.mp4", "c.mkv", "d.ts.mkv"):
        assert times_of(out / name) == times_of(whole / name), name


def test_where_the_results_cannot_go(edgeflow, bundle, folder, clip):
    assert "into a folder" in edgeflow("run", bundle, folder, "-o", folder.parent / "one.mp4").err
    assert "the folder that is read" in edgeflow("run", bundle, folder, "-o", folder).err
    (folder / "x.png").write_bytes(b"")
    assert "films and pictures" in edgeflow("run", bundle, folder, "-o", folder.parent / "out").err


def test_cache_says_why_engines_are_stale_and_removes_these(edgeflow, bundle, tmp_path, monkeypatch):
    path = tmp_path / "larger.edgeflow"
    shutil.copytree(bundle, path)
    monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path / "cache"))
    assert "keeps no engines" in edgeflow("cache", path).out
    for entry in next(iter(open_bundle(path).manifest.plans.values())).graphs:
        graph = GraphFile(path / "graphs" / f"{entry.graph}.onnx", entry.inputs, entry.outputs)
        keep_compiled(
            CompiledFrom((graph,), {}, "f32", 1), OpenVinoBackend.build, entry.graph.encode(), "f32", ()
        )
    told = json.loads(edgeflow("cache", path, "--json").out)
    assert told and {engine["stale"] for engine in told} == {""}
    assert {"built"} == {
        p["path"].split("/")[-1] for p in json.loads(edgeflow("cache", "--json").out) if p["files"]
    }
    first, *_ = sorted((path / "engines").glob("*/*.blob"))
    first.write_bytes(first.read_bytes() + b"x")
    other = first.parent.with_name("another-processor")
    shutil.copytree(first.parent, other)
    said = edgeflow("cache", path)
    assert "1 stale: it is not the file that was built" in said.out
    assert "another processor or release of openvino" in said.out or len(told) == 1
    assert "removed" in edgeflow("cache", path, "--purge").out
    assert not first.exists() and not any(
        engine["stale"] for engine in json.loads(edgeflow("cache", path, "--json").out)
    )
    (tmp_path / "cache" / "graphs").mkdir()
    (tmp_path / "cache" / "graphs" / "x").write_bytes(b"12")
    assert "1 files, 0.00 MB: removed" in edgeflow("cache", "--purge").out
    assert not (tmp_path / "cache" / "graphs" / "x").exists() and any(
        (tmp_path / "cache" / "built").iterdir()
    )
