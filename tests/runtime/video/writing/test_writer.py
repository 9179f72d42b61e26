import os
import resource
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.colour import Colour, Rgb
from edgeflow.runtime.video.reading.reader import VideoReader
from edgeflow.runtime.video.writing.encoder import Encoding
from edgeflow.runtime.video.writing.writer import VideoWriter


def write(path, frames, fps=Fraction(25), like=None):
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width=width, height=height, fps=fps, like=like) as writer:
        for frame in frames:
            writer.write(frame)
    return writer


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".y4m"])
def test_every_container_keeps_frames_rate_and_picture(out, moving, suffix):
    frames = moving(15)
    path = out / f"a{suffix}"
    write(path, frames, Fraction(30000, 1001))
    with VideoReader(path) as reader:
        got = list(reader)
    assert abs(reader.info.fps - Fraction(30000, 1001)) < Fraction(1, 1000)
    assert len(got) == 15
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(got, frames, strict=True)) < 4
    assert os.listdir(out) == [path.name]


@pytest.mark.parametrize(("width", "height"), [(95, 63), (97, 64), (64, 33), (48, 96)])
def test_odd_and_portrait_sizes_stay(out, moving, width, height):
    write(out / "a.mp4", moving(4, width, height))
    with av.open(str(out / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (width, height)
        assert stream.codec_context.pix_fmt == ("yuv444p" if width % 2 or height % 2 else "yuv420p")
        assert len(list(container.decode(stream))) == 4


def middles(frame):
    """The colour inside each square of 16, away from its edges, which share chroma with their neighbours."""
    squares = frame.astype(int).reshape(6, 16, 8, 16, 3)
    return np.median(squares[:, 4:12, :, 4:12], axis=(1, 3))


def patches():
    """Flat random colours in squares of 16."""
    colours = np.random.default_rng(3).integers(0, 256, (6, 8, 3))
    return np.kron(colours, np.ones((16, 16, 1))).astype(np.uint8)


@pytest.mark.parametrize("colour_range", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("space", [1, 6], ids=["bt709", "bt601"])
def test_still_pixels_do_not_shift(clip, out, colour_range, space):
    still = patches()
    lossless = {"crf": "0", "preset": "ultrafast"}
    path = clip("a.mkv", [still] * 2, colour_range=colour_range, space=space, options=lossless)
    with VideoReader(path) as reader:
        first = next(iter(reader))
        assert (reader.info.colour.full, reader.info.colour.space) == (colour_range == 2, space)
        write(out / "b.mp4", [first] * 2, like=reader)
    with VideoReader(out / "b.mp4") as reader:
        second = next(iter(reader))
        assert (reader.info.colour.full, reader.info.colour.space) == (colour_range == 2, space)
    # The codec leaves some noise in each patch; a wrong matrix or range would shift them by ten or more.
    shift = middles(second) - middles(first)
    assert np.abs(shift.mean(axis=(0, 1))).max() <= 1
    assert np.abs(shift).max() <= 4
    assert np.abs((middles(first) - middles(still)).mean(axis=(0, 1))).max() <= 2


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 9], ids=["bt709", "bt601", "bt2020"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_conversion_to_and_fro_shifts_by_two_levels_at_most(full, matrix, pixel_format):
    rgb = Rgb(Colour(full=full, matrix=matrix))
    once = rgb.from_picture(rgb.to_picture(patches(), pixel_format))
    assert np.abs(middles(once) - middles(patches())).max() <= 2


def edge(frame):
    """How far into a frame, in pixels, its colour turns from the left one to the right one."""
    redness = frame[6, :, 0].astype(float) - frame[6, :, 1]
    return np.sum((redness[-1] - redness) / (redness[-1] - redness[0]))


@pytest.mark.parametrize(
    ("name", "codec", "depth"),
    [("a.mp4", None, 8), ("a.webm", None, 8), ("a.mkv", "libx265", 16), ("a.mkv", "ffv1", 8)],
)
def test_colours_stay_where_they_are_over_passes(out, name, codec, depth):
    """Chroma is read where the stream says it lies; written elsewhere it would move by half a pixel a pass."""
    frame = np.full((32, 64, 3), 128, np.uint8)
    frame[:, 32:] = (220, 40, 60)
    asked = Encoding(codec, crf=None if codec == "ffv1" else 4)
    for number in range(4):
        given = frame if depth == 8 else frame.astype(np.uint16) * 257
        with VideoWriter(
            out / f"{number}{name}", width=64, height=32, fps=Fraction(25), asked=asked
        ) as writer:
            for _ in range(3):
                writer.write(given)
        with VideoReader(out / f"{number}{name}") as reader:
            frame = list(reader)[1]
    assert edge(frame) == pytest.approx(32, abs=0.8)  # it was 2 pixels off


def test_y4m_gets_the_matrix_that_is_assumed_for_its_size(clip, out):
    """The source states BT.709 at a size for which an unstated matrix means BT.601."""
    path = clip("a.mkv", [patches()] * 2, space=1)
    with VideoReader(path) as reader:
        first = next(iter(reader))
        write(out / "b.y4m", [first], like=reader)
    with VideoReader(out / "b.y4m") as reader:
        second = next(iter(reader))
    assert np.abs(middles(second) - middles(first)).max() <= 2


def test_stored_numbers_of_an_unstated_matrix_stay(clip, out):
    """What a player sees must not depend on what we assumed for ourselves."""
    lossless = {"crf": "0", "preset": "ultrafast"}
    path = clip("a.mkv", [patches()] * 2, colour_range=0, space=2, options=lossless)
    with VideoReader(path) as reader:
        write(out / "b.mkv", list(reader), like=reader)
    planes = []
    for file in (path, out / "b.mkv"):
        with av.open(str(file)) as container:
            assert container.streams.video[0].codec_context.colorspace == 2
            planes.append(next(container.decode(video=0)).to_ndarray())
    centres = np.s_[8:96:16, 8:128:16]
    assert np.abs(planes[0][centres].astype(int) - planes[1][centres]).max() <= 2


def test_nothing_shows_before_the_end_and_the_old_file_survives_a_failure(out, moving):
    path = out / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), VideoWriter(path, width=96, height=64, fps=Fraction(25)) as writer:
        writer.write(moving(1)[0])
        assert path.read_bytes() == b"old"
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert os.listdir(out) == ["a.mp4"]


def test_a_link_keeps_pointing_at_the_replaced_file(out, moving):
    (out / "real").mkdir()
    (out / "a.mp4").symlink_to(out / "real" / "b.mp4")
    write(out / "a.mp4", moving(2))
    assert (out / "a.mp4").is_symlink()
    assert (out / "real" / "b.mp4").stat().st_size > 0


def test_wrong_frame_size(out, moving):
    message = r"frame 0 has shape \(32, 32, 3\), the video needs \(64, 96, 3\)"
    writer = VideoWriter(out / "a.mp4", width=96, height=64, fps=Fraction(25))
    with pytest.raises(InputError, match=message), writer:
        writer.write(moving(1, 32, 32)[0])
    assert os.listdir(out) == []


def test_unknown_suffix(out):
    with pytest.raises(VideoError, match=r"unknown kind of video '\.flv'; use \.mp4"):
        VideoWriter(out / "a.flv", width=96, height=64, fps=Fraction(25))


def test_missing_folder(out):
    with pytest.raises(VideoError, match="does not exist; create it"):
        VideoWriter(out / "x" / "a.mp4", width=96, height=64, fps=Fraction(25))


@pytest.mark.parametrize("suffix", [".y4m", ".mp4"])
def test_full_disk(out, moving, suffix):
    path = out / f"a{suffix}"
    path.symlink_to("/dev/full")
    with pytest.raises(VideoError, match="the disk is full; free some space") as caught:
        write(path, moving(60, 320, 240))
    assert "\n" not in str(caught.value)


def test_file_size_limit_leaves_nothing(out):
    """A disk that fills up midway, played by the kernel's limit on a process's files."""
    code = (
        "import sys, numpy as np\n"
        "from fractions import Fraction\n"
        "from edgeflow.ir.errors import VideoError\n"
        "from edgeflow.runtime.video.writing.writer import VideoWriter\n"
        "noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)\n"
        "try:\n"
        "    with VideoWriter(sys.argv[1], width=96, height=64, fps=Fraction(25)) as writer:\n"
        "        for _ in range(200): writer.write(noise)\n"
        "except VideoError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, out / "a.y4m"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)),
    )
    assert "cannot be written at frame" in done.stdout, done.stderr
    assert "(File too large); raise the limit (`ulimit -f`" in done.stdout
    assert ".mkv" not in done.stdout, "another container is as large"
    assert os.listdir(out) == []
