import os
import subprocess
import sys
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.interpolate import interpolate_video

Y4M = """
import pathlib, sys, numpy as np
from types import SimpleNamespace
from edgeflow.runtime.video.interpolate import interpolate_video
class Session:
    in_flight = 1
    def run(self, a, b):
        middle = ((a.astype(np.uint16) + b + 1) // 2).astype(np.uint8)
        return SimpleNamespace(outputs=(middle,), trace=SimpleNamespace(regions=()))
    def reset(self): pass
report = interpolate_video(Session(), "-", pathlib.Path("-"))
print(report.frames_read, report.frames_written, file=sys.stderr)
"""


def difference(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean()


def sound(path):
    """The first audio stream's packets, each with its time against the first picture."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        start = video.start_time * video.time_base
        return [
            (bytes(packet), packet.pts * packet.time_base - start)
            for packet in container.demux(audio)
            if packet.size
        ]


@pytest.mark.parametrize("times", [2, 4])
def test_frames_rate_and_order(clip, out, moving, decode, averaging, times):
    frames = moving(9)
    path = clip("a.mp4", frames, fps=Fraction(24000, 1001))
    session = averaging()
    report = interpolate_video(session, path, out / "b.mp4", times=times)
    got, source = decode(out / "b.mp4"), decode(path)
    assert len(got) == 9 * times == report.frames_written
    assert (report.frames_read, report.cuts, report.truncated, report.warnings) == (9, 0, False, ())
    assert session.runs == 8 * (times - 1)
    with av.open(str(out / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(24000, 1001) * times
        assert stream.duration * stream.time_base == pytest.approx(9 * 1001 / 24000, abs=1e-3)
    for index in range(8):
        a, b = source[index].astype(int), source[index + 1].astype(int)
        for step in range(times):
            expected = a + (b - a) * step / times
            assert difference(got[index * times + step], expected) < 3
    assert all(difference(frame, source[-1]) < 3 for frame in got[-times:])


@pytest.mark.parametrize("times", [2, 4])
def test_pairs_in_flight_together_come_out_in_order(clip, out, moving, decode, averaging, times):
    """The first pair of every two waits for the second to begin, so one at a time would never end.

    Compared without loss: x264 on several threads does not always make the same bytes of the same frames.
    """
    meeting = threading.Barrier(2)

    class Overlapping(averaging):
        def run(self, frame0, frame1):
            meeting.wait(30)
            return super().run(frame0, frame1)

    path = clip("a.mp4", moving(9))
    report = interpolate_video(Overlapping(in_flight=2), path, out / "b.y4m", times=times)
    alone = interpolate_video(averaging(), path, out / "c.y4m", times=times)
    for got, wanted in zip(decode(out / "b.y4m"), decode(out / "c.y4m"), strict=True):
        assert (got == wanted).all()
    assert report.routes == alone.routes and report.frames_written == 9 * times


def test_pairs_in_flight_are_finished_before_a_cut(clip, out, moving, decode, averaging):
    path = clip("a.mp4", moving(4, seed=1) + moving(4, seed=2))
    session = averaging(in_flight=2)
    report = interpolate_video(session, path, out / "b.y4m")
    interpolate_video(averaging(), path, out / "c.y4m")
    assert (report.cuts, session.resets, session.runs) == (1, 1, 6)
    assert all((a == b).all() for a, b in zip(decode(out / "b.y4m"), decode(out / "c.y4m"), strict=True))


def test_report_counts_routes_and_times(clip, out, moving, averaging):
    report = interpolate_video(averaging(), clip("a.mp4", moving(5)), out / "b.mp4")
    assert report.routes == {"scale=1 exit=3": 4, "scale=2 exit=1": 4}
    assert report.fps == 50
    parts = (report.decode_seconds, report.infer_seconds, report.encode_seconds)
    assert all(0 < part <= report.total_seconds for part in parts)


def test_progress(clip, out, moving, averaging):
    seen = []
    path = clip("a.mp4", moving(4))
    interpolate_video(averaging(), path, out / "b.mp4", on_progress=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_sound_is_copied(clip, out, moving, averaging, suffix):
    path = clip("a.mp4", moving(30), audio="aac")
    report = interpolate_video(averaging(), path, out / f"b{suffix}")
    before, after = sound(path), sound(out / f"b{suffix}")
    assert [data for data, _ in after] == [data for data, _ in before]
    assert max(abs(a - b) for (_, a), (_, b) in zip(before, after, strict=True)) < Fraction(1, 50)
    assert report.warnings == ()


def test_sound_that_outlasts_the_picture_is_kept(clip, out, moving, averaging):
    # Raw pictures leave their decoder at once, so the sound's rest comes after the last of them.
    path = clip("a.avi", moving(5), codec="rawvideo", audio="pcm_s16le", audio_tail=1)
    interpolate_video(averaging(), path, out / "b.mkv")
    before, after = (b"".join(data for data, _ in sound(file)) for file in (path, out / "b.mkv"))
    assert len(before) == 2 * 48000 * 1.2
    assert after == before


def test_sound_stays_in_step_when_the_picture_starts_late(clip, out, moving, averaging):
    """A transport stream's clocks start somewhere, picture and sound apart; a copy begins at zero."""
    path = clip("a.ts", moving(20), audio="aac", container_options={"output_ts_offset": "5"})
    interpolate_video(averaging(), path, out / "b.mkv")
    before, after = sound(path), sound(out / "b.mkv")
    assert before[0][1] == pytest.approx(after[0][1], abs=1 / 50)
    with av.open(str(path)) as source, av.open(str(out / "b.mkv")) as container:
        assert source.start_time > 4_000_000
        assert container.start_time < 50_000


def test_sound_the_container_cannot_hold_is_named(clip, out, moving, averaging):
    path = clip("a.mp4", moving(6), audio="aac")
    report = interpolate_video(averaging(), path, out / "b.y4m")
    assert len(report.warnings) == 1 and "cannot hold aac sound" in report.warnings[0]


@pytest.mark.parametrize(("width", "height"), [(95, 63), (48, 96)])
def test_odd_and_portrait(clip, out, moving, decode, averaging, width, height):
    path = clip("a.mkv", moving(4, width, height), pixel_format="yuv444p")
    interpolate_video(averaging(), path, out / "b.mp4", overlay=True)
    assert [frame.shape for frame in decode(out / "b.mp4")] == [(height, width, 3)] * 8


@pytest.mark.parametrize("times", [2, 4])
def test_one_frame(clip, out, moving, decode, averaging, times):
    session = averaging()
    report = interpolate_video(session, clip("a.mp4", moving(1)), out / "b.mp4", times=times)
    assert "is one picture, with nothing to interpolate to: it is repeated" in report.warnings[0]
    assert len(decode(out / "b.mp4")) == times == report.frames_written
    assert session.runs == 0


def test_cut_is_repeated_and_not_blended(clip, out, moving, decode, averaging):
    path = clip("a.mp4", moving(4, seed=1) + moving(4, seed=2))
    session = averaging()
    report = interpolate_video(session, path, out / "b.mp4")
    got, source = decode(out / "b.mp4"), decode(path)
    assert (report.cuts, session.resets, session.runs) == (1, 1, 6)
    assert difference(got[7], source[3]) < 3
    assert difference(got[8], source[4]) < 3
    assert len(got) == 16


def test_overlay_shows_on_source_and_middle_frames(clip, out, decode, averaging):
    grey = [np.full((128, 192, 3), 128, np.uint8)] * 3
    interpolate_video(averaging(), clip("a.mp4", grey), out / "b.mp4", overlay=True)
    got = decode(out / "b.mp4")
    warm, cool = ([frame[50, column].astype(int) for frame in got[:4]] for column in (48, 144))
    assert all(pixel[0] > pixel[2] + 20 for pixel in warm)
    assert all(pixel[2] > pixel[0] + 10 for pixel in cool)
    assert np.abs(got[-1][50, [48, 144]].astype(int) - 128).max() < 5


def test_y4m_through_pipes(clip, out, moving, decode):
    path = clip("a.y4m", moving(7), codec="rawvideo", options={})
    done = subprocess.run([sys.executable, "-c", Y4M], input=path.read_bytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.split() == [b"7", b"14"], "nothing but the report"
    (out / "b.y4m").write_bytes(done.stdout)
    got, source = decode(out / "b.y4m"), decode(path)
    assert len(got) == 14
    assert all(difference(a, b) < 2 for a, b in zip(got[::2], source, strict=True))


def test_a_reader_of_stdout_that_leaves_is_known_from_other_faults(clip, moving):
    path = clip("a.y4m", moving(60, 320, 240), codec="rawvideo", options={})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        path.open("rb") as source,
        subprocess.Popen([sys.executable, "-c", Y4M], stdin=source, **pipes) as process,
    ):
        process.stdout.read(1000)
        process.stdout.close()
        error = process.stderr.read().decode()
    assert "BrokenPipeError: [Errno 32] nobody reads stdout any more" in error


@pytest.mark.parametrize("overwrite", [False, True])
def test_source_is_never_replaced(clip, moving, averaging, overwrite):
    path = clip("a.mp4", moving(5))
    before = path.read_bytes()
    with pytest.raises(VideoError, match="is the video that is read"):
        interpolate_video(averaging(), path, path, overwrite=overwrite)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["a.mp4"]


def test_cut_source_is_finished_and_named(clip, out, moving, averaging):
    path = clip("a.mkv", moving(60), audio="aac")
    os.truncate(path, path.stat().st_size * 6 // 10)
    report = interpolate_video(averaging(), path, out / "b.mp4")
    assert report.truncated and 10 < report.frames_read < 60
    assert f"its end is missing; the {report.frames_read} frames" in report.warnings[0]


@pytest.mark.timed
@pytest.mark.parametrize("error", [RuntimeError("engine stopped"), KeyboardInterrupt()])
def test_failing_session_keeps_what_is_done(clip, out, moving, averaging, error):
    path = clip("a.mp4", moving(60), audio="aac")
    started = time.perf_counter()
    with pytest.raises(type(error)) as caught:
        interpolate_video(averaging(fail_at=20, error=error), path, out / "b.mp4")
    assert caught.value is error
    assert sorted(os.listdir(out)) == ["b.mp4", "b.mp4.parts"]
    with av.open(str(out / "b.mp4")) as film:
        assert 30 <= sum(1 for _ in film.decode(video=0)) <= 40
    assert time.perf_counter() - started < 5


def test_failing_at_once_leaves_nothing(clip, out, moving, averaging):
    with pytest.raises(RuntimeError):
        interpolate_video(averaging(fail_at=0), clip("a.mp4", moving(10)), out / "b.mp4")
    assert os.listdir(out) == []


def test_failing_encoder_stops_the_others(clip, out, moving, averaging):
    (out / "b.y4m").symlink_to("/dev/full")
    session = averaging()
    with pytest.raises(VideoError, match="the disk is full"):
        interpolate_video(session, clip("a.mp4", moving(100)), out / "b.y4m")
    assert session.runs < 99, "the session went on although nobody could store its frames"


def test_session_that_returns_another_size_is_named(clip, out, moving, averaging):
    class Cropping(averaging):
        def run(self, frame0, frame1):
            return super().run(frame0[:32], frame1[:32])

    with pytest.raises(InputError, match=r"frame 1 has shape \(32, 96, 3\)"):
        interpolate_video(Cropping(), clip("a.mp4", moving(5)), out / "b.mp4")
    assert os.listdir(out) == []


def test_bad_destination_is_told_before_any_work(clip, moving, averaging, out):
    session = averaging()
    with pytest.raises(VideoError, match="unknown kind of video"):
        interpolate_video(session, clip("a.mp4", moving(3)), out / "b.flv")
    assert session.runs == 0


def test_times(clip, out, moving, averaging):
    with pytest.raises(InputError, match="times is 3; choose 2 or 4"):
        interpolate_video(averaging(), clip("a.mp4", moving(3)), out / "b.mp4", times=3)


def test_stages_overlap_and_memory_is_bounded(clip, out, moving, averaging):
    """While the session holds a frame, decoding runs ahead, but only by the queue's length."""
    threads = []

    class Slow(averaging):
        def run(self, frame0, frame1):
            threads.append({thread.name for thread in threading.enumerate()})
            time.sleep(0.02)
            return super().run(frame0, frame1)

    interpolate_video(Slow(), clip("a.mp4", moving(40)), out / "b.mp4")
    assert {"edgeflow decode", "edgeflow encode"} <= threads[0]
    assert "edgeflow decode" in threads[20], "a slow session must hold the decoder back"
