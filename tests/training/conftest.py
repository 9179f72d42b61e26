from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch

MakeClip = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_clip() -> MakeClip:
    """Writes a lossless clip of a textured square that moves over a textured ground."""

    def make(path: Path, frames: int = 20, height: int = 96, width: int = 128) -> Path:
        rng = np.random.default_rng(len(path.name))
        ground = rng.integers(0, 255, (height, width, 3), np.uint8)
        square = rng.integers(0, 255, (32, 32, 3), np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
            for number in range(frames):
                picture = ground.copy()
                left = 2 * number % (width - 32)
                picture[20:52, left : left + 32] = square
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return make


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, make_clip: MakeClip) -> Path:
    """A folder with two clips, one shown upright, and a file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "wide.mkv")
    make_clip(folder / "upright.mkv", height=112, width=80)
    (folder / "notes.txt").write_text("not a video")
    return folder
