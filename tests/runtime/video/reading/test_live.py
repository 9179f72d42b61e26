"""Live sources: the newest frame comes first, what is dropped is counted, time is kept, and an interrupt ends them well."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.interpolate import interpolate_video
from edgeflow.runtime.video.reading.live import Newest
from edgeflow.runtime.video.reading.reader import VideoReader


def test_the_newest_comes_first_and_the_rest_is_counted():
    step = threading.Semaphore(0)

    def numbers():
        for number in range(10):
            yield number
            if number in (0, 6):
                step.acquire(timeout=20)

    newest = Newest(numbers())
    given = []
    for number in newest:
        given.append(number)
        step.release()
        time.sleep(0.2)
    assert given[0] == 0 and given[-1] == 9
    assert given == sorted(given) and len(given) + newest.dropped == 10 and newest.dropped >= 6
    assert newest.leave(5)


def test_what_the_source_raises_comes_after_what_it_gave():
    def failing():
        yield 1
        raise VideoError("the cable is out")

    newest = iter(Newest(failing()))
    assert next(newest) == 1
    with pytest.raises(VideoError, match="the cable is out"):
        next(newest)


class Camera:
    """Sends MPEG-TS over TCP at 25 frames a second, as a camera does whether it is read or not; the picture's grey is its time."""

    def __init__(self, frames: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._frames = frames
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        line, _ = self._listening.accept()
        with (
            suppress(av.FFmpegError, OSError),
            line,
            line.makefile("wb") as sink,
            av.open(sink, "w", format="mpegts") as out,
        ):
            options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
            video = out.add_stream("libx264", rate=25, options=options)
            video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
            started = time.monotonic()
            for number in range(self._frames):
                grey = np.full((64, 96, 3), 20 + 2 * number % 220, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                out.mux(video.encode(frame))
                sink.flush()
                time.sleep(max(0.0, started + number / 25 - time.monotonic()))
            out.mux(video.encode(None))


@pytest.mark.slow
def test_a_source_that_is_faster_than_the_model_drops_frames_and_keeps_its_time(tmp_path, averaging):
    session = averaging()
    run = session.run

    def slowly(*frames):
        time.sleep(0.15)
        return run(*frames)

    session.run = slowly
    report = interpolate_video(session, Camera(75).address, tmp_path / "out.mp4")
    assert report.frames_dropped > 20 and report.frames_read + report.frames_dropped == 75
    with av.open(str(tmp_path / "out.mp4")) as made:
        pictures = [(float(p.time), float(p.to_ndarray(format="gray").mean())) for p in made.decode(video=0)]
    assert len(pictures) == report.frames_written == 2 * report.frames_read
    for at, grey in pictures[::2]:  # the camera's own, whose grey says when they were taken
        assert (grey - 20) / 2 / 25 == pytest.approx(at, abs=0.05)


def test_an_interrupt_ends_a_live_source_and_keeps_what_was_made(tmp_path, averaging):
    session, runs = averaging(), []
    run = session.run

    def interrupted(*frames):
        runs.append(1)
        if len(runs) == 12:
            raise KeyboardInterrupt
        return run(*frames)

    session.run = interrupted
    report = interpolate_video(session, Camera(300).address, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == report.frames_written >= 20


def test_files_are_not_live(clip, moving):
    with VideoReader(clip("a.mp4", moving(3))) as reader:
        assert not reader.live and reader.dropped == 0
