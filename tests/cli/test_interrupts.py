"""Ctrl-C and a full disk, in processes of their own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

SMALL = f"""
import sys

sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from routed_models import small

def build():
    return small("Patchwork")
"""


def edgeflow(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from edgeflow.cli import main; main()", *map(str, arguments)]


def heed_interrupts() -> None:
    """A process started in the background inherits an ignored SIGINT, under nohup an ignored SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interrupted_export_goes_on(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    size = ("--size", "160x96")  # one kind of frames is enough, and small ones
    command = edgeflow("export", "small.py:build", "-o", "x.edgeflow", "--plan", "routes", *size, "--json")
    started = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    partial = tmp_path / "x.edgeflow.partial"
    wait_for(lambda: len(list(partial.glob("*.onnx"))) >= 3)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "run the same command again" in said and said.count("interrupted") == 1 and "Traceback" not in said
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"small.py", "x.edgeflow.partial"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert '"segments_resumed": 0' not in done.stdout
    assert (tmp_path / "x.edgeflow" / "manifest.json").exists() and not partial.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_stopped_run_plays_and_goes_on_as_it_says(tmp_path, tiny_bundles, clip, number):
    frames = subprocess.run(
        [sys.executable, "-c", LOOP, str(clip), "150"], capture_output=True, check=True, cwd=tmp_path
    ).stdout
    (tmp_path / "long.y4m").write_bytes(frames)
    bundle = Path(tiny_bundles["chained"].path)
    command = edgeflow("run", bundle, tmp_path / "long.y4m", "-o", tmp_path / "out.mp4")
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    parts = tmp_path / "out.mp4.parts"
    wait_for(lambda: len(list(parts.glob("*.nut"))) >= 2)  # the first is whole, 60 frames
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    if number == signal.SIGKILL:
        again = [*command, "--resume"]
        assert not (tmp_path / "out.mp4").exists()
    else:
        assert started.returncode == 128 + number and "Traceback" not in said
        line = next(line for line in said.splitlines() if "go on with: " in line)
        assert "holds what was made of the first" in line and line.endswith("--resume")
        again = (
            edgeflow(*shlex.split(line.split("go on with: ")[1])[1:])
            if "-c" not in line
            else [*command, "--resume"]
        )
        with av.open(str(tmp_path / "out.mp4")) as film:
            assert sum(1 for _ in film.decode(video=0)) >= 120
    done = subprocess.run(again, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"150 frames in \(\d+ done by the run before\), 300 out", done.stderr)
    with av.open(str(tmp_path / "out.mp4")) as film:
        times = [float(frame.time) for frame in film.decode(video=0)]
    assert len(times) == 300 and times == sorted(set(times))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.y4m", "out.mp4"]


def test_y4m_through_a_pipe(tmp_path, tiny_bundles, clip):
    frames = subprocess.run(
        [sys.executable, "-c", LOOP, str(clip), "5"], capture_output=True, check=True
    ).stdout
    bundle = Path(tiny_bundles["chained"].path)
    done = subprocess.run(
        edgeflow("run", bundle, "-", "-o", "-"), input=frames, capture_output=True, check=True
    )
    assert done.stdout.startswith(b"YUV4MPEG2")
    assert done.stdout.count(b"FRAME\n") == 10


def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly(tmp_path, tiny_bundles, clip):
    frames = subprocess.run(
        [sys.executable, "-c", LOOP, str(clip), "40"], capture_output=True, check=True
    ).stdout
    (tmp_path / "long.y4m").write_bytes(frames)
    command = edgeflow("run", Path(tiny_bundles["chained"].path), tmp_path / "long.y4m", "-o", "-")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout.read(9) == b"YUV4MPEG2"
        run.stdout.close()
        said = run.stderr.read().decode()
    assert run.returncode == 1 and not said.strip()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which only Linux has")
def test_a_full_disk_is_one_line(tiny_bundles, clip):
    command = edgeflow("run", Path(tiny_bundles["chained"].path), clip, "-o", "-")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 1
    assert len(lines) == 1 and "space" in lines[0].lower()


LOOP = """
import sys
from itertools import cycle, islice

import av

with av.open(sys.argv[1]) as source:
    pictures = [frame.to_ndarray(format="yuv420p") for frame in source.decode(video=0)]
height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
sys.stdout.buffer.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\\n".encode())
for picture in islice(cycle(pictures), int(sys.argv[2])):
    sys.stdout.buffer.write(b"FRAME\\n" + picture.tobytes())
"""


LOST = """
import os, signal, sys, time, weakref
from edgeflow.cli import endings

class Thing:
    pass

def dying(reference):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)

endings.heed()
thing = Thing()
reference = weakref.ref(thing, dying)
try:
    del thing
    time.sleep(20)
except endings.Ended:
    print("ended", endings.code(), endings.asked())
"""


def test_a_signal_that_comes_in_a_finalizer_is_not_lost():
    done = subprocess.run(
        [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "ended 143 True\n" and done.stderr == ""
