from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from edgeflow.cli.train import app
from edgeflow.ir.errors import TrainError
from edgeflow.models.cain_sd import build
from edgeflow.models.cain_sd.weights import load_weights


def arguments(clips, run, *more: str) -> list[str]:
    given = ["cain-sd", "--data", str(clips), "--run", str(run), "--preset", "tiny", "--threads", "1"]
    return [*given, *more]


@pytest.mark.slow
def test_training_leaves_weights_and_says_where(clips, tmp_path):
    result = CliRunner().invoke(app, arguments(clips, tmp_path / "run", "--steps", "6", "--json"))
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert load_weights(build("tiny"), tmp_path / "run" / "weights.safetensors")["steps"] == str(
        said["steps"]
    )
    assert "left out notes.txt" in result.stderr
    again = CliRunner().invoke(app, arguments(clips, tmp_path / "run", "--steps", "6", "--json"))
    assert json.loads(again.stdout) == said


def test_two_lengths_are_refused(clips, tmp_path):
    result = CliRunner().invoke(app, arguments(clips, tmp_path, "--steps", "6", "--minutes", "1"))
    assert isinstance(result.exception, TrainError)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_keeps_what_was_learnt(clips, tmp_path):
    run = tmp_path / "run"
    code = "import sys; from edgeflow.cli.train import app; app(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments(clips, run, "--minutes", "9")],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(run.glob("cache/*.npy")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(6)  # until it trains: importing takes a while on a busy machine
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    finished = CliRunner().invoke(app, arguments(clips, run, "--steps", "1"))
    assert finished.exit_code == 0, finished.output
