"""Commands replace nothing that they did not make."""

from __future__ import annotations

import os
import shutil


def test_export_leaves_folders_of_others_alone(edgeflow, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"jpg")
    for options in ((), ("--overwrite",)):
        said = edgeflow("export", "cain-sd", "--preset", "tiny", "-o", photos, *options)
        assert said.code == 1 and "holds files and is no edgeflow bundle: it is left alone" in said.err
    assert os.listdir(tmp_path) == ["photos"] and (photos / "holiday.jpg").read_bytes() == b"jpg"


def test_run_replaces_neither_its_source_nor_a_film_that_is_there(edgeflow, tiny_bundles, clip, tmp_path):
    bundle, film, link = tiny_bundles["chained"].path, tmp_path / "in.mp4", tmp_path / "link.mp4"
    shutil.copy(clip, film)
    os.link(film, link)
    before = film.read_bytes()
    for place in (film, link):
        said = edgeflow("run", bundle, film, "-o", place, "--overwrite")
        assert said.code == 1 and "is the video that is read" in said.err
    old = tmp_path / "old.mp4"
    old.write_bytes(b"old")
    said = edgeflow("run", bundle, film, "-o", old)
    assert said.code == 1 and "exists: choose another name, or replace it with --overwrite" in said.err
    assert film.read_bytes() == before and old.read_bytes() == b"old"
    assert edgeflow("run", bundle, film, "-o", old, "--overwrite").code == 0 and old.stat().st_size > 1000


MODEL = """
import torch
from beside import channels
from torch import nn
from edgeflow.flow import Image, RoutedModule

class Model(RoutedModule):
    inputs = (Image("frame", 16, 16),)
    outputs = (Image("out"),)

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, channels, 3, 1, 1), nn.Conv2d(channels, 3, 3, 1, 1))

    def flow(self, f, frame):
        return f.call(self.net, frame)

def build():
    return Model().eval()
"""


def test_a_model_file_may_import_the_file_beside_it(edgeflow, tmp_path):
    (tmp_path / "beside.py").write_text("channels = 5\n")
    (tmp_path / "mine.py").write_text(MODEL)
    said = edgeflow("export", f"{tmp_path / 'mine.py'}:build", "-o", tmp_path / "b.edgeflow")
    assert said.code == 0, said.err
    assert "compared with the model on onnxruntime" in said.out


def test_what_nobody_expected_is_one_line_without_a_traceback(edgeflow, tmp_path, monkeypatch):
    from edgeflow.cli import inspect

    monkeypatch.setattr(inspect, "open_bundle", {}.__getitem__)
    said = edgeflow("inspect", tmp_path)
    assert said.code == 1 and "edgeflow: error: KeyError: " in said.err and "(a fault of edgeflow" in said.err
    assert "Traceback" not in said.err


def test_what_a_models_own_line_raises_is_not_called_a_fault_of_edgeflow(edgeflow, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from edgeflow.flow import Image, RoutedModule\n"
        "class Mine(RoutedModule):\n"
        "    inputs, outputs = (Image('frame'),), (Image('picture'),)\n"
        "    def flow(self, f, frame):\n"
        "        return f.stitch(f.tile(frame, patch=24))\n"
        "def build():\n"
        "    return Mine().eval()\n"
    )
    said = edgeflow("export", f"{tmp_path / 'mine.py'}:build", "-o", tmp_path / "b.edgeflow")
    assert said.code == 1 and "unexpected keyword argument 'patch' (in mine.py, line 5" in said.err
    assert "fault of edgeflow" not in said.err
