import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.reading.reader import Reading, VideoReader

FAST_START = {"container_options": {"movflags": "faststart"}}


def read(source):
    with VideoReader(source) as reader:
        return list(reader), reader


def test_gives_every_frame_and_what_the_file_says(clip, moving):
    frames = moving(12)
    path = clip("a.mp4", frames, fps=Fraction(30000, 1001), audio="aac")
    got, reader = read(path)
    assert len(got) == 12
    assert all(f.dtype == np.uint8 and f.shape == (64, 96, 3) and f.flags.c_contiguous for f in got)
    assert np.abs(got[7].astype(int) - frames[7]).mean() < 3
    info = reader.info
    assert (info.width, info.height, info.fps, info.frames) == (96, 64, Fraction(30000, 1001), 12)
    assert info.audio == ("aac",)
    assert not info.colour.full and info.colour.space == 1
    assert not reader.truncated


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mov", "a.ts"])
def test_reads_other_containers_whole(clip, moving, name):
    got, reader = read(clip(name, moving(10), audio="aac"))
    assert len(got) == 10
    assert not reader.truncated


@pytest.mark.parametrize(("sound", "size"), [("pcm_s16le", 2000), ("adpcm_ms", 1012)])
def test_sound_in_avi_whose_index_counts_bytes_keeps_its_time(tmp_path, moving, sound, size):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as out:
        video, track = (
            out.add_stream("mpeg4", rate=24),
            out.add_stream(sound, rate=48000, layout="stereo"),
        )
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for number, frame in enumerate(moving(24)):
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 2 * size), np.int16), "s16", "stereo")
            samples.sample_rate, samples.pts = 48000, number * size
            out.mux(track.encode(samples))
        out.mux(video.encode(None))
        out.mux(track.encode(None))
    with VideoReader(path) as reader:
        for _ in reader:
            continue
        times = [float(packet.pts * packet.time_base) for packet in reader.take_audio()]
        assert not reader.damage.places and not reader.truncated
    steps = np.diff(times)
    assert times[0] == 0 and steps.min() > 0 and abs(times[-1] - 23 * size / 48000) < 0.05


def test_raw_stream_takes_its_rate_from_the_headers(clip, moving):
    got, reader = read(clip("a.h264", moving(10), fps=Fraction(30)))
    assert len(got) == 10
    assert reader.info.fps == 30
    assert reader.info.frames is None


def test_reads_a_file_object(clip, moving):
    with clip("a.mkv", moving(5)).open("rb") as file:
        got, _ = read(file)
    assert len(got) == 5


def test_name_with_a_colon_is_a_file(clip, moving, monkeypatch):
    path = clip("a.mp4", moving(3))
    path.rename(path.with_name("12:30 #1.mp4"))
    monkeypatch.chdir(path.parent)
    assert len(read("12:30 #1.mp4")[0]) == 3


def test_missing_file(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file; check the path$"):
        VideoReader(tmp_path / "gone.mp4")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("SRT://127.0.0.1:9", r"built without srt: .*`ffmpeg -i SRT://127\.0\.0\.1:9 -f yuv4mpegpipe - \| edgeflow run"),
        ("of-no-kind://x", "built without of-no-kind"),
        ("/dev/video4095", "check that the camera is connected"),
        ("tcp://127.0.0.1:9", "check the address"),
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_opened_say_what_to_do(address, said):
    with pytest.raises(VideoError, match=f"^{address}: cannot be opened .*{said}"):
        VideoReader(address)


def test_folder(tmp_path):
    with pytest.raises(VideoError, match="holds no pictures"):
        VideoReader(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(VideoError, match=r"a\.mp4: is empty"):
        VideoReader(tmp_path / "a.mp4")


def test_not_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(VideoError, match="cannot be read as a video") as caught:
        VideoReader(path)
    assert "\n" not in str(caught.value)


def test_sound_only(tmp_path):
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(VideoError, match="holds sound only"):
        VideoReader(path)


@pytest.mark.skipif(not hasattr(av.stream, "Disposition"), reason="this PyAV cannot tell a cover")
def test_song_with_a_cover_is_sound_only(tmp_path, moving):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        song = container.add_stream("libmp3lame", rate=44100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(moving(1)[0], format="rgb24")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16p", layout="mono")
        sound.rate = 44100
        for packet in (*cover.encode(picture), *cover.encode(None), *song.encode(sound), *song.encode(None)):
            container.mux(packet)
    with pytest.raises(VideoError, match="holds sound only"):
        VideoReader(path)


@pytest.mark.parametrize(("name", "options"), [("a.mp4", FAST_START), ("a.mkv", {}), ("a.avi", {})])
def test_cut_file_gives_its_frames_and_says_so(clip, moving, name, options):
    path = clip(name, moving(60), audio="aac", **options)
    whole, _ = read(path)
    os.truncate(path, path.stat().st_size * 6 // 10)
    got, reader = read(path)
    assert 10 < len(got) < 60
    assert reader.truncated
    assert all(np.array_equal(a, b) for a, b in zip(got, whole, strict=False)), "no half-decoded picture"


@pytest.mark.parametrize("cut", [0, 1, 5000])
def test_y4m_cut_inside_a_picture(clip, moving, cut):
    path = clip("a.y4m", moving(9), codec="rawvideo")
    os.truncate(path, path.stat().st_size - cut)
    got, reader = read(path)
    assert (len(got), reader.truncated) == (8 if cut else 9, cut > 0)


def test_file_cut_before_its_index(clip, moving):
    path = clip("a.mp4", moving(20))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(VideoError, match="cut off"):
        VideoReader(path)


def spoil(path: Path, index: int) -> None:
    """Overwrite one packet of a video so that its decoder must refuse it."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][index]
        position, size = packet.pos, packet.size
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\xff" * size)


def test_damage_midway_names_the_frame(clip, moving):
    path = clip("a.mp4", moving(40), options={"g": "1", "preset": "ultrafast"})
    spoil(path, 20)
    strict = Reading(strict=True)
    with (
        VideoReader(path, reading=strict) as reader,
        pytest.raises(VideoError, match=r"a\.mp4: damaged at frame (\d+) \(0\.\d+ s\); re"),
    ):
        list(reader)


def test_damage_midway_keeps_the_time_and_is_said(clip, moving):
    path = clip("a.mp4", moving(40), options={"g": "1", "preset": "ultrafast"})
    spoil(path, 20)
    with VideoReader(path) as reader:
        times = [shot.time for shot in reader.shots()]
        line, _ = reader.damage.lines("a.mp4")
    assert line.startswith("a.mp4: damaged at 0.8") and not reader.truncated
    assert len(times) == 39 and times[-1] == Fraction(39, 25) and Fraction(20, 25) not in times


def test_damage_from_the_first_picture_on(clip, moving):
    path = clip("a.mp4", moving(1))
    spoil(path, 0)
    with pytest.raises(VideoError, match="no picture could be decoded"):
        VideoReader(path)


def test_damage_that_ffmpegs_own_vp9_decoder_passes_over_is_said(clip, moving):
    path = clip("a.webm", moving(24), codec="libvpx-vp9", options={"g": "8", "crf": "20", "b": "0"})
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][10]
        place, size = path.read_bytes().index(bytes(packet)), packet.size
    with path.open("r+b") as file:
        file.seek(place + size // 2)
        file.write(bytes(size // 4))
    with av.open(str(path)) as container:
        assert len([picture for picture in container.decode(video=0) if not picture.is_corrupt]) == 24
    with VideoReader(path) as reader:
        times = [shot.time for shot in reader.shots()]
        line, _ = reader.damage.lines("a.webm")
    assert line.startswith("a.webm: damaged at 0.4") and not reader.truncated
    assert Fraction(10, 25) not in times and {*range(10), *range(16, 24)} <= {round(25 * t) for t in times}
    with (
        VideoReader(path, reading=Reading(strict=True)) as reader,
        pytest.raises(VideoError, match="damaged at frame 10"),
    ):
        list(reader)


def test_changing_size_names_the_frame_and_both_sizes(clip, moving):
    first, second = clip("a.h264", moving(6)), clip("b.h264", moving(6, 64, 48))
    joined = first.with_name("ab.h264")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    strict = Reading(strict=True)
    with (
        VideoReader(joined, reading=strict) as reader,
        pytest.raises(VideoError, match="frame 6 is 64x48, the video 96x64"),
    ):
        list(reader)
    with VideoReader(joined) as reader:
        assert {frame.shape for frame in reader} == {(64, 96, 3)}
        assert "frame 6 is 64x48" in reader.remarks[0]
