"""Clips made on the spot and a session that averages."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
GOOD = {"crf": "8", "preset": "ultrafast"}


@dataclass(frozen=True)
class Patch:
    top: int
    left: int
    bottom: int
    right: int
    route: dict[str, int | float | str | bool]
    flops: int


@dataclass(frozen=True)
class Trace:
    regions: tuple[Patch, ...]


@dataclass(frozen=True)
class Result:
    outputs: tuple[Frame, ...]
    trace: Trace


@dataclass
class Averaging:
    """Averages two frames; the left half claims the full route, the right half a cheap one."""

    fail_at: int | None = None
    error: BaseException = field(default_factory=lambda: RuntimeError("engine stopped"))
    runs: int = 0
    resets: int = 0
    in_flight: int = 1

    def run(self, frame0: Frame, frame1: Frame) -> Result:
        if self.runs == self.fail_at:
            raise self.error
        self.runs += 1
        height, width = frame0.shape[:2]
        middle = ((frame0.astype(np.uint16) + frame1 + 1) // 2).astype(np.uint8)
        left = Patch(0, 0, height, width // 2, {"scale": 1, "exit": 3}, 300)
        right = Patch(0, width // 2, height, width, {"scale": 2, "exit": 1}, 25)
        return Result((middle,), Trace((left, right)))

    def reset(self) -> None:
        self.resets += 1


@dataclass(frozen=True)
class ClipMaker:
    """Writes a clip of given frames with PyAV."""

    folder: Path

    def __call__(
        self,
        name: str,
        frames: list[Frame],
        *,
        fps: Fraction = Fraction(25),
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        colour_range: int = 1,
        space: int = 1,
        audio: str | None = None,
        audio_tail: int = 0,
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        path = self.folder / name
        with av.open(str(path), "w", options=container_options or {}) as container:
            video = container.add_stream(codec, rate=fps, options=options or GOOD)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = pixel_format
            video.codec_context.color_range = colour_range
            video.codec_context.colorspace = space
            tone = container.add_stream(audio, rate=48000, layout="mono") if audio else None
            if tone is not None:
                container.start_encoding()
                self._tone(container, tone, len(frames) / fps + audio_tail)
            for index, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                    format=pixel_format,
                    src_colorspace=5 if space == 1 else 1,
                    dst_colorspace=1 if space == 1 else 5,
                    src_color_range=2,
                    dst_color_range=colour_range,
                )
                picture.pts = index
                picture.time_base = 1 / fps
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        return path

    @staticmethod
    def _tone(container, stream, seconds: Fraction) -> None:
        samples = int(seconds * 48000)
        size = stream.codec_context.frame_size or 1024
        planar = stream.codec_context.format.name == "fltp"
        for start in range(0, samples, size):
            time = np.arange(start, min(start + size, samples)) / 48000
            wave = 0.5 * np.sin(2 * np.pi * 440 * time)
            data = wave.astype(np.float32) if planar else (wave * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(data[None], format="fltp" if planar else "s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_moving(count: int, width: int = 96, height: int = 64, *, seed: int = 0) -> list[Frame]:
    """A smooth random texture that slides by two pixels a frame."""
    cell = max(16, height // 5)
    shape = (height // cell + 2, (width + 2 * count) // cell + 2, 3)
    coarse = np.random.default_rng(seed).integers(0, 256, shape)
    rows = np.arange(height) / cell
    columns = np.arange(width + 2 * count) / cell
    texture = _interpolate(_interpolate(coarse.astype(np.float64), rows, 0), columns, 1).astype(np.uint8)
    return [np.ascontiguousarray(texture[:, 2 * i : 2 * i + width]) for i in range(count)]


def _interpolate(grid: NDArray[np.float64], at: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    low = at.astype(int)
    share = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
    return np.take(grid, low, axis) * (1 - share) + np.take(grid, low + 1, axis) * share


def decode_file(path: Path) -> list[Frame]:
    """All frames by PyAV's own conversion, as an independent reader."""
    with av.open(str(path)) as container:
        return [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]


@pytest.fixture
def moving() -> Callable[..., list[Frame]]:
    return make_moving


@pytest.fixture
def decode() -> Callable[[Path], list[Frame]]:
    return decode_file


@pytest.fixture
def averaging() -> type[Averaging]:
    return Averaging


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    folder = tmp_path / "clips"
    folder.mkdir()
    return ClipMaker(folder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for results; whatever a failed run leaves shows up here."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeflow")] == []
