from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from kept_bundles import CODE, kept

from edgeflow.cli import main
from edgeflow.export.sample import moving_picture


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def edgeflow(capsys, monkeypatch):
    """Runs the command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        printed = capsys.readouterr()
        code = stopped.value.code
        return Said(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return run


@pytest.fixture
def export_kept(edgeflow):
    """Runs `edgeflow export MODEL OPTIONS -o OUTPUT`, or takes the bundle that an earlier run kept of it.

    Paths among the options are files that the command reads.
    """

    def export(output: Path, model: Path, function: str, *options: object) -> Path:
        def command() -> None:
            said = edgeflow("export", f"{model}:{function}", *options, "-o", output)
            assert said.code == 0, said.err

        read = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (model, *options) if isinstance(p, Path)]
        told = [str(option) for option in options if not isinstance(option, Path)]
        kept(output, [function, *told, *read], command, (*CODE, "cli"))
        return output

    return export


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Nine frames of 160x96 that move."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for time in range(9):
            picture = np.ascontiguousarray(moving_picture(96, 160, time))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path
