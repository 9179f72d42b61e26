"""`edgeflow profile --report`, `--compare` and `edgeflow diff`."""

from __future__ import annotations

import json
import re
import shutil

import pytest


@pytest.mark.slow
def test_the_command_writes_it(edgeflow, tiny_bundles, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.device.RUNS", 1)
    bundle = tmp_path / "tiny.edgeflow"
    shutil.copytree(tiny_bundles["routes"].path, bundle)
    out, folder = tmp_path / "report.html", tmp_path / "pictures"
    options = ("--clip", clip, "--frames", 6, "--report", out)
    said = edgeflow("profile", bundle, *options, "--pictures", folder)
    assert said.code == 0, said.err
    assert len(frames_of(out)) == 3 == 6 - 1 - 2
    assert (folder / "times.svg").exists()
    said = edgeflow("profile", bundle, *options)
    assert said.code == 1 and "exists" in said.err
    said = edgeflow("profile", bundle, "--report", tmp_path / "other.html")
    assert said.code == 1 and "give --clip as well" in said.err


def test_what_draws_it_is_named_where_it_is_missing(edgeflow, tiny_bundles, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeflow.report.pictures.find_spec", lambda name: None)
    out = tmp_path / "report.html"
    said = edgeflow("profile", tiny_bundles["routes"].path, "--clip", clip, "--report", out)
    assert said.code == 1 and 'pip install -e ".[report]"' in said.err and not out.exists()


def frames_of(page):
    return json.loads(re.search(r"^const data = (.*);$", page.read_text(), re.M)[1])["frames"]


@pytest.fixture(scope="module")
def profiled(tiny_bundles, tmp_path_factory):
    """A bundle of its own."""
    bundle = tmp_path_factory.mktemp("diff") / "tiny.edgeflow"
    shutil.copytree(tiny_bundles["routes"].path, bundle)
    return bundle


def steady(path):
    """Let every run of an engine take its median, as on a machine that does nothing else."""
    data = json.loads(path.read_text())
    for one in data["engines"]:
        one["latency"]["samples_ms"] = [one["latency"]["median_ms"]] * 12
    path.write_text(json.dumps(data))


def slowed(path, out, engine, times):
    """A profile in which one engine takes so many times as long."""
    data = json.loads(path.read_text())
    for one in data["engines"]:
        if one["name"] == engine:
            one["latency"]["samples_ms"] = [times * ms for ms in one["latency"]["samples_ms"]]
    out.write_text(json.dumps(data))


@pytest.mark.slow
def test_a_slower_engine_is_named_and_exits_with_3(edgeflow, profiled, clip, tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert edgeflow("profile", profiled, "--clip", clip, "--frames", 6, "--json", old).code == 0
    steady(old)
    said = edgeflow("diff", old, old)
    assert said.code == 0 and "0 slower, 0 faster" in said.out
    engine = json.loads(old.read_text())["engines"][0]["name"]
    slowed(old, new, engine, 20)
    said = edgeflow("diff", old, new)
    assert said.code == 3 and engine in said.out and "slower" in said.out
    found = json.loads(edgeflow("diff", old, new, "--json").out)
    assert found["regressions"] == [one["what"] for one in found["engines"] if one["verdict"] == "slower"]
    assert all(what.startswith(engine) for what in found["regressions"]) and found["regressions"]
    said = edgeflow("diff", new, old)
    assert said.code == 0 and "0 slower" in said.out


@pytest.mark.slow
def test_a_profile_compares_with_an_earlier_one(edgeflow, profiled, tmp_path):
    old, fast = tmp_path / "old.json", tmp_path / "fast.json"
    assert edgeflow("profile", profiled, "--json", old).code == 0
    for name in {one["name"] for one in json.loads(old.read_text())["engines"]}:
        slowed(old if not fast.exists() else fast, fast, name, 1e-3)
    said = edgeflow("profile", profiled, "--compare", fast)
    assert said.code == 3 and "the usual engine takes x" in said.out
    said = edgeflow("profile", profiled, "--compare", tmp_path / "none.json")
    assert said.code == 1 and "none.json cannot be read" in said.err


@pytest.mark.slow
def test_a_profile_on_stdout_is_json_alone(edgeflow, profiled):
    said = edgeflow("profile", profiled, "--json", "-")
    assert said.code == 0 and json.loads(said.out)["engines"]


@pytest.mark.slow
def test_two_bundles_are_compared_by_what_they_keep(edgeflow, profiled, tiny_bundles, tmp_path):
    other = tmp_path / "other.edgeflow"
    edgeflow("profile", profiled)
    shutil.copytree(profiled, other)
    assert edgeflow("diff", profiled, other).code == 0
    (kept,) = (other / "profile").glob("*.json")
    data = json.loads(kept.read_text())
    data["ms"] = {key: {batch: 2 * ms for batch, ms in own.items()} for key, own in data["ms"].items()}
    kept.write_text(json.dumps(data))
    said = edgeflow("diff", profiled, other)
    assert said.code == 3 and "the usual engine takes x2.00" in said.out
    said = edgeflow("diff", profiled, kept)
    assert said.code == 1 and "give two profiles, or two bundles" in said.err
    shutil.rmtree(other / "profile")
    said = edgeflow("diff", profiled, other)
    assert said.code == 1 and "no device measured both" in said.err and said.err.count("\n") == 1
