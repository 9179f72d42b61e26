"""A family from an installed package: exported, trained, judged and measured like edgeflow's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from edgeflow.export.sample import moving_picture
from edgeflow.models import families

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "own_family"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Where the package is installed, in a folder on the path."""
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
    results = {"EDGEFLOW_RESULTS": str(tmp_path_factory.mktemp("results"))}
    return {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", **results}


@pytest.fixture(scope="module")
def run(environment):
    """Runs `edgeflow`, or a benchmark, in a process of its own."""

    def started(*arguments: object, script: str | None = None) -> str:
        command = (
            [str(ROOT / "benchmarks" / script)] if script else ["-c", "from edgeflow.cli import main; main()"]
        )
        done = subprocess.run(
            [sys.executable, *command, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return started


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A folder with a clip of 16 frames of 160x96."""
    folder = tmp_path_factory.mktemp("clips")
    with av.open(str(folder / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "bgr0"
        for time in range(16):
            picture = np.ascontiguousarray(moving_picture(96, 160, time))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return folder


@pytest.fixture(scope="module")
def weights(run, clips, tmp_path_factory) -> Path:
    """What training with an option of the family's own left."""
    folder = tmp_path_factory.mktemp("run")
    options = ("--preset", "tiny", "--variant", "deeper", "--steps", "12", "--price", "0.5", "--threads", "1")
    said = run("train", "brighten", "--data", clips, "--run", folder, *options, "--json")
    assert json.loads(said)["steps"] == 12
    return folder / "weights.safetensors"


def test_help_lists_it_with_its_own_options(run):
    assert "brighten" in run("train", "--help")
    said = run("train", "brighten", "--help")
    assert "--price" in said and "<deep|deeper>" in said


def test_it_is_exported_with_its_weights_and_checked(run, weights, tmp_path):
    bundle = tmp_path / "brighten.edgeflow"
    kind = ("--preset", "tiny", "--variant", "deeper")
    run("export", "brighten", *kind, "--weights", weights, "--plan", "chained", "-o", bundle)
    assert json.loads(run("check", bundle, "--json"))["passed"]
    assert json.loads((bundle / "manifest.json").read_text())["model"] == {
        "reference": "brighten",
        "class": "Brighten",
        "weights": "weights.safetensors",
        "preset": "tiny",
        "variant": "deeper",
    }


def test_it_is_judged_by_its_own_measure(run, weights, clips, environment):
    kind = ("--preset", "tiny", "--variant", "deeper", "--weights", weights)
    run("--family", "brighten", "--data", clips, *kind, script="quality.py")
    (score,) = json.loads((Path(environment["EDGEFLOW_RESULTS"]) / "brighten_quality.json").read_text())
    assert score["family"] == "brighten" and score["weights"]["steps"] == "12" and score["frames"] > 0


def test_its_realisation_is_measured(run, weights, clips, environment):
    measured = ("--library", "onnxruntime", "--plans", "chained", "--frames", "4", "--threads", "1")
    kind = ("--preset", "tiny", "--variant", "deeper", "--weights", weights)
    run("--family", "brighten", *kind, "--clip", clips / "clip.mkv", *measured, script="realisation.py")
    (record,) = json.loads((Path(environment["EDGEFLOW_RESULTS"]) / "realisation.json").read_text())
    assert record["family"] == "brighten" and record["realisation"] > 0 and record["full_form"] == "whole"


def test_nothing_names_a_family_outside_models_and_training():
    names = {name for family in families() for name in (family, family.replace("-", "_"))}
    folders = ("edgeflow/cli", "edgeflow/flow", "edgeflow/ir", "edgeflow/ops", "export", "runtime", "targets")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in sorted(names)
        if re.search(rf"\b{re.escape(name)}\b", file.read_text())
    ]
    assert found == []
