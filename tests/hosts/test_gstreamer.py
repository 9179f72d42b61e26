"""GStreamer's pipelines through a bundle: what `edgeflow run` makes of the same frames."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PYTHON = "/usr/bin/python3"
pytestmark = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None,
    reason="no GStreamer: apt-get install gstreamer1.0-tools and others, see docs/gstreamer.md",
)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """Environment variables with which GStreamer finds the element."""
    home = tmp_path_factory.mktemp("gst")
    own = {**os.environ, "XDG_DATA_HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-m", "edgeflow.hosts.gstreamer"]
    said = subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout
    own["GST_PLUGIN_PATH"] = said.split("GST_PLUGIN_PATH=")[1].split(";")[0]
    found = subprocess.run(["gst-inspect-1.0", "edgeflow"], env=own, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(
            f"GStreamer loads no Python plugins, or runs another Python: {(found.stdout + found.stderr)[-300:]}"
        )
    return own


@pytest.fixture
def piped(surroundings, tmp_path):
    """What a pipeline makes of frames."""

    def made(frames, element, size=None):
        height, width, _ = frames[0].shape
        (tmp_path / "in.rgb").write_bytes(b"".join(frame.tobytes() for frame in frames))
        line = (
            f"filesrc location={tmp_path}/in.rgb ! rawvideoparse format=rgb width={width} height={height} framerate=25/1 ! "
            f"edgeflow {element} threads=1 ! filesink location={tmp_path}/out.rgb"
        )
        done = subprocess.run(
            ["gst-launch-1.0", *line.split()], env=surroundings, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        rows, columns = size or (height, width)
        return np.frombuffer((tmp_path / "out.rgb").read_bytes(), np.uint8).reshape(-1, rows, columns, 3)

    return made


CASES = {
    "times": ("any_time", "times=3", {"times": 3}, (48, 64)),
    "fps": ("any_time", "fps=60", {"fps": 60}, (48, 64)),
    "larger": ("larger", "", {}, (32, 48)),
    "states": ("Shortcut", "", {}, (16, 24)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_makes_what_run_makes(bundle, two_scenes, run, piped, case):
    name, options, asked, size = CASES[case]
    frames = two_scenes(*size)
    wanted = run(bundle(name), frames, **asked)
    made = piped(frames, f"bundle={bundle(name)} {options}", wanted[0].shape[:2])
    assert len(made) == len(wanted)
    assert [n for n, pair in enumerate(zip(made, wanted, strict=True)) if (pair[0] != pair[1]).any()] == []


def test_times_flush_another_size_and_end(bundle, surroundings):
    script = Path(__file__).with_name("gst_events.py")
    done = subprocess.run(
        [PYTHON, script, bundle("any_time")], env=surroundings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    ms = 1000
    assert [row[:3] for row in said["before"]] == [[n * 20 * ms, 20 * ms, 64] for n in range(4)]
    assert [row[0] for row in said["after the flush"]] == [4000 * ms, 4020 * ms], "what waited is gone"
    assert said["after the flush"][0][3] == 60
    assert said["latency"] == 40 * ms
    rest = said["of another size"]
    assert [(row[0], row[2]) for row in rest] == [
        (4040 * ms, 64), (4060 * ms, 64), *((time * ms, 32) for time in (4080, 4100, 4120, 4140))
    ]  # fmt: skip
    assert said["ended"]


def test_what_cannot_be_is_said(bundle, surroundings):
    def said(*words):
        source = ["videotestsrc", "num-buffers=3", "!", "video/x-raw,format=RGB,width=64,height=48", "!"]
        line = ["gst-launch-1.0", *source, *words, "!", "fakesink"]
        try:
            done = subprocess.run(line, env=surroundings, capture_output=True, timeout=60)
        except (
            subprocess.TimeoutExpired
        ) as stayed:  # gst-launch 1.22 tells the error and stays, once in a hundred times
            return (stayed.stderr or b"").decode()
        assert done.returncode != 0
        return done.stderr.decode()

    said_of_none = said("edgeflow")
    assert said_of_none.count("set bundle=PATH") == 1  # though caps come again with every frame
    assert "the bundle is for 48x32" in said("edgeflow", f"bundle={bundle('larger')}")
    assert "leaves their rate as it is" in said("edgeflow", f"bundle={bundle('Shortcut')}", "times=3")
