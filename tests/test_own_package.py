"""The example package, installed beside edgeflow: what it adds appears and works like edgeflow's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from edgeflow.export.sample import moving_picture

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_package"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs `edgeflow` in a process of its own, with the package installed in a folder on its path."""
    folder = tmp_path_factory.mktemp("installed")
    options = (
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--target",
        folder,
    )
    subprocess.run([sys.executable, "-m", "pip", "install", *options, EXAMPLE], check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [sys.executable, "-c", "from edgeflow.cli import main; main()"]

    def edgeflow(*arguments: object) -> str:
        done = subprocess.run(
            [*command, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return edgeflow


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "shifting.edgeflow"
    run("export", f"{EXAMPLE}/model.py:build", "--target", "workbench", "--size", "72x56", "-o", path)
    return path


def test_target_and_library_are_listed(run):
    assert "workbench" in run("targets") and "onnx-reference" in run("targets", "show", "workbench")
    found = json.loads(run("sys", "--json"))
    assert found["targets"]["workbench"] == "ready"


def test_the_library_runs_what_was_exported_for_it(run, bundle):
    report = json.loads(run("check", bundle, "--json"))
    assert report["passed"] and report["library"] == "onnx-reference"
    compared = json.loads((bundle / "manifest.json").read_text())["provenance"]["compared"]
    assert compared["compared"] and compared["library"] == "onnx-reference"


def test_the_operator_runs_on_edgeflows_own_libraries(run, tmp_path):
    path = tmp_path / "shifting.edgeflow"
    run("export", f"{EXAMPLE}/model.py:build", "--target", "cpu", "--size", "72x56", "-o", path)
    assert json.loads(run("check", path, "--json"))["passed"]


def test_the_rule_steadies_routes_on_the_command_line(run, bundle, tmp_path):
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 72, 56, "yuv420p"
        for time in range(4):
            picture = np.ascontiguousarray(moving_picture(56, 72, 5 * time))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))

    def routes(*options: str) -> dict[str, int]:
        made = run("run", bundle, clip, "-o", tmp_path / f"out{len(options)}.mkv", "--json", *options)
        counted: dict[str, int] = json.loads(made)["routes"]
        return counted

    own, firm = routes(), routes("--policy", "depth=hysteresis:1000")
    assert sum(own.values()) == sum(firm.values()) and sum(own.values()) % 4 == 0
    # A margin that nothing beats keeps what every tile took on the first frame.
    assert all(count % 4 == 0 for count in firm.values())


def test_a_package_that_cannot_be_loaded_is_named(tmp_path):
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[edgeflow.libraries]\nnothing = nowhere_at_all:LIBRARY\n")
    command = [sys.executable, "-c", "from edgeflow.cli import main; main()", "targets"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the package broken adds 'nothing' to edgeflow.libraries" in " ".join(done.stderr.split())
