"""Bundles, frames, and what `edgeflow run` makes of these: every host has to make the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeflow.runtime import Session
from edgeflow.runtime.session import picture_size
from edgeflow.runtime.video.film import convert_film

Frame = NDArray[np.uint8]

MADE = "EDGEFLOW_HOST_BUNDLES"
"""Environment variable that names a folder of bundles, made by `tests/host_bundles.py`: these tests need no torch then."""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Callable[[str], Path]:
    """A function from the name of a small model to its bundle, for ONNX Runtime."""
    if MADE in os.environ:
        return lambda name: Path(os.environ[MADE]) / f"{name}.edgeflow"
    from host_bundles import host_bundle  # it needs torch

    folder = tmp_path_factory.mktemp("bundles")
    return lambda name: host_bundle(folder, name)


@pytest.fixture(scope="session")
def two_scenes() -> Callable[[int, int], list[Frame]]:
    """Seven frames that move and five of another scene, of a height and width."""

    def make(height: int, width: int) -> list[Frame]:
        rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]

        def slide(time: int, phase: float) -> Frame:
            waves = [np.sin((rows * (k + 1) + columns * (3 - k) + time) / 9 + phase * k) for k in range(3)]
            return (128 + 90 * np.stack(waves, -1)).astype(np.uint8)

        return [slide(time, 0.7) for time in range(7)] + [
            255 - slide(time, 2.1)[:, ::-1] for time in range(5)
        ]

    return make


@pytest.fixture
def run(tmp_path) -> Callable[..., list[Frame]]:
    """What `edgeflow run` makes of frames, as pictures."""

    def made(path: Path, frames: list[Frame], **options: Any) -> list[Frame]:
        source, out = tmp_path / "frames", tmp_path / "made"
        for folder in (source, out):
            folder.mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(source / f"{number:05d}.png")
        with Session(path, threads=1) as session:
            task = session.bundle.manifest.task
            size = lambda height, width: picture_size(session.bundle, height, width)  # noqa: E731
            convert_film(session, task, source, out / "%05d.png", picture=size, **options)
        return [np.asarray(Image.open(file).convert("RGB")) for file in sorted(out.iterdir())]

    return made
