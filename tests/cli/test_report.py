"""`edgeflow profile --report`, `--compare` and `edgeflow diff`."""

from __future__ import annotations

import json
import re
import shutil


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
    assert said.code == 1 and "pip install 'edgeflow[report]'" in said.err and not out.exists()


def frames_of(page):
    return json.loads(re.search(r"^const data = (.*);$", page.read_text(), re.M)[1])["frames"]
