"""Streams of frames through Triton's Python backend: each gets what `edgeflow run` makes of it alone."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgeflow.hosts.triton.repository import model_name, write_repository
from edgeflow.hosts.triton.streams import Asked, Streams
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import BundleError, InputError


def films(two_scenes, count, size):
    return [[frame if k % 2 else 255 - frame for frame in two_scenes(*size)][k % 3 :] for k in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "asked"), [("any_time", (48, 64), {"times": 3}), ("Shortcut", (16, 24), {})]
)
def test_streams_do_not_mix(bundle, two_scenes, run, name, size, asked):
    given = films(two_scenes, 3, size)
    streams = Streams(open_bundle(bundle(name)), threads=1, at_a_time=2, **asked)

    def stream(number):
        frames = given[number]
        made = []
        for i, frame in enumerate(frames):
            last = i == len(frames) - 1
            made += streams.answer(Asked(number, frame, i / 25, i == 0, last))
        return [picture.pixels for picture in made]

    for _ in range(2):  # sessions are taken over by later streams
        with ThreadPoolExecutor(3) as pool:
            made = list(pool.map(stream, range(3)))
    wanted = run(bundle(name), given[2], **asked)
    assert len(made[2]) == len(wanted)
    assert all((own == other).all() for own, other in zip(made[2], wanted, strict=True))


def test_streams_that_are_not_begun_or_idle_are_refused(bundle, two_scenes):
    now = [0.0]
    streams = Streams(open_bundle(bundle("Shortcut")), threads=1, idle=10, clock=lambda: now[0])
    frame = two_scenes(16, 24)[0]
    with pytest.raises(InputError, match="stream 5 was not begun"):
        streams.answer(Asked(5, frame, None, False, False))
    streams.answer(Asked(5, frame, None, True, False))
    now[0] = 9.0
    streams.forget_idle()
    streams.answer(Asked(5, frame, None, False, False))
    now[0] = 30.0
    streams.forget_idle()
    with pytest.raises(InputError, match="no frame for 10 seconds"):
        streams.answer(Asked(5, frame, None, False, False))


def test_the_repository(bundle, tmp_path):
    place = write_repository(open_bundle(bundle("any_time")), tmp_path / "repository", "any_time", False)
    held = sorted(path.relative_to(tmp_path).as_posix() for path in place.glob("*")) + sorted(
        p.name for p in (place / "1").iterdir()
    )
    assert held == ["repository/any_time/1", "repository/any_time/config.pbtxt", "bundle", "model.py"]
    with pytest.raises(BundleError, match="--overwrite"):
        write_repository(open_bundle(bundle("any_time")), tmp_path / "repository", "any_time", False)
    write_repository(open_bundle(bundle("any_time")), tmp_path / "repository", "any_time", True)
    (tmp_path / "repository" / "mine").mkdir()
    with pytest.raises(BundleError, match="something else"):
        write_repository(open_bundle(bundle("any_time")), tmp_path / "repository", "mine", True)
    assert (model_name("rife"), model_name("a/b-c.py:build")) == ("rife", "build")


@pytest.fixture(scope="module")
def server(bundle, tmp_path_factory):
    """Address of a server, of PyPI's package for CPUs, that has two models."""
    found = importlib.util.find_spec("pytriton")
    if found is None or found.origin is None:
        pytest.skip("no Triton server: pip install --no-deps nvidia-pytriton")
    folder, home = tmp_path_factory.mktemp("triton"), Path(found.origin).parent / "tritonserver"
    version = sysconfig.get_python_version()
    if not (home / "python_backend_stubs" / version).is_dir():
        pytest.skip(f"nvidia-pytriton carries no backend for Python {version}")
    backend = folder / "backends" / "python"
    backend.mkdir(parents=True)
    for file in (
        *(home / "backends" / "python").glob("*triton*"),
        home / "python_backend_stubs" / version / "triton_python_backend_stub",
    ):
        shutil.copy(file, backend)
    for name in ("any_time", "Shortcut"):
        write_repository(open_bundle(bundle(name)), folder / "repository", name, False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    libraries = [str(home / "external_libs"), str(home.parents[1] / "nvidia_pytriton.libs")]
    own = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(libraries),
        "EDGEFLOW_SITE": sysconfig.get_path("purelib"),
    }
    options = {
        "model-repository": folder / "repository",
        "backend-directory": folder / "backends",
        "http-address": "127.0.0.1",
        "http-port": port,
        "allow-grpc": "false",
        "allow-metrics": "false",
        "exit-timeout-secs": 1,
    }
    with (folder / "log").open("w") as log:
        words = [f"--{name}={value}" for name, value in options.items()]
        process = subprocess.Popen([home / "bin" / "tritonserver", *words], env=own, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/v2"
    try:
        for _ in range(240):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def ask(address, model, sequence, frame, start, end, when=None):
    """A request of a stream; the pictures that come back."""
    inputs = [
        {"name": "FRAME", "shape": [1, *frame.shape], "datatype": "UINT8", "data": frame.ravel().tolist()}
    ]
    if when is not None:
        inputs.append({"name": "TIME", "shape": [1, 1], "datatype": "FP64", "data": [when]})
    parameters = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
    body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    request = urllib.request.Request(
        f"{address}/models/{model}/infer", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = {out["name"]: out for out in json.loads(answer.read())["outputs"]}
    return list(np.uint8(told["PICTURES"]["data"]).reshape(told["PICTURES"]["shape"])[0])


@pytest.mark.slow
def test_a_real_server_serves_streams_at_a_time(bundle, two_scenes, run, server):
    given = {
        name: films(two_scenes, 4, size)
        for name, size in {"any_time": (48, 64), "Shortcut": (16, 24)}.items()
    }

    def stream(job):
        model, number = job
        made, frames = [], given[model][number]
        for i, frame in enumerate(frames):
            made += ask(server, model, number + 1, frame, i == 0, i == len(frames) - 1, i / 25)
        return made

    jobs = [(model, number) for model in given for number in range(4)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        made = dict(zip(jobs, pool.map(stream, jobs), strict=True))
    with pytest.raises(urllib.error.HTTPError):
        ask(server, "Shortcut", 9, np.zeros((20, 30, 3), np.uint8), True, True)
    wanted = run(bundle("Shortcut"), given["Shortcut"][2])
    assert len(wanted) == len(made["Shortcut", 2])
    assert [
        int(np.abs(own.astype(int) - other).max())
        for own, other in zip(made["Shortcut", 2], wanted, strict=True)
    ] == [0] * len(wanted)
    frames = made["any_time", 3][::2]
    assert all((own == other).all() for own, other in zip(frames, given["any_time"][3], strict=True)), (
        "frames that stay"
    )
    alone = stream(("any_time", 3))
    assert all((own == other).all() for own, other in zip(made["any_time", 3], alone, strict=True))
    assert len(alone) == 2 * len(given["any_time"][3])
