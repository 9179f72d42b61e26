"""Pictures in and out: one, or a numbered series."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.interpolate import TASK as MIDDLE
from edgeflow.runtime.video.interpolate import interpolate_video
from edgeflow.runtime.video.reading.reader import VideoReader
from edgeflow.runtime.video.translate import translate_video
from edgeflow.runtime.video.writing.pictures import PictureWriter


class Negative:
    in_flight = 1

    def run(self, frame):
        return SimpleNamespace(outputs=(255 - frame,), trace=SimpleNamespace(regions=()))

    def reset(self):
        pass


def frames(count):
    return [np.full((48, 64, 3), 30 + 20 * number, np.uint8) for number in range(count)]


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_picture_of_a_picture(out, suffix):
    source = out / "photo.png"
    shade = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    Image.fromarray(np.stack((shade, shade // 2, 255 - shade), 2)).save(source)
    report = translate_video(Negative(), source, out / f"made.{suffix}")
    assert (report.frames_read, report.frames_written) == (1, 1)
    difference = np.abs(pixels(out / f"made.{suffix}").astype(int) - (255 - pixels(source).astype(int)))
    assert difference.max() <= (0 if suffix != "jpg" else 8)


def test_numbered_pictures_of_a_film_and_a_film_of_them(clip, out, averaging, decode):
    film = clip("a.mkv", frames(4), codec="ffv1", pixel_format="bgr0", options={}, audio="aac")
    report = interpolate_video(averaging(), film, out / "frames" / "f-%03d.png")  # which makes the folder
    names = sorted(path.name for path in (out / "frames").iterdir())
    assert names == [f"f-{number:03d}.png" for number in range(1, 9)] and report.frames_written == 8
    assert [int(pixels(out / "frames" / name).mean()) for name in names] == [30, 40, 50, 60, 70, 80, 90, 90]
    assert any("no sound" in warning for warning in report.warnings)
    translate_video(Negative(), out / "frames", out / "b.mp4")
    assert len(decode(out / "b.mp4")) == 8


def test_names_that_would_cost_pictures_are_refused_before_any_work(clip, out, averaging):
    film, session = clip("a.mkv", frames(3), codec="ffv1", pixel_format="bgr0", options={}), averaging()
    (out / "in").mkdir()
    for number in (1, 2):
        Image.fromarray(frames(1)[0]).save(out / "in" / f"{number}.png")
    for source, name, complaint in (
        (film, "one.png", "more than one picture is made: give the name a number, such as one-%05d.png"),
        (film, "in/%d.png", "exists: choose another name, or replace it with --overwrite"),
        (out / "in", "in/new-%d.png", "among the pictures that are read"),
        (out / "in" / "1.png", "in/1.png", "exists"),
        (film, "no/in/%d.png", "does not exist; create it first"),
        (film, "in/%d-%d.png", "one number"),
        (film, "in/%s.png", "one number"),
    ):
        with pytest.raises(VideoError, match=complaint):
            convert_film(session, MIDDLE, source, out / name)
    with pytest.raises(VideoError, match="is the picture that is read"):
        translate_video(Negative(), out / "in" / "1.png", out / "in" / "1.png", overwrite=True)
    assert session.runs == 0 and len(list((out / "in").iterdir())) == 2


def test_what_is_done_stays_when_a_picture_cannot_be_made(clip, out, averaging):
    film = clip("a.mkv", frames(6), codec="ffv1", pixel_format="bgr0", options={})
    with pytest.raises(RuntimeError, match="engine stopped"):
        interpolate_video(averaging(fail_at=3), film, out / "%02d.png")
    made = sorted(path.name for path in out.iterdir())
    assert made and made == [f"{number:02d}.png" for number in range(1, len(made) + 1)]
    assert all(pixels(out / name).shape == (48, 64, 3) for name in made)


def test_of_several_pictures_under_one_name_none_stays(clip, out):
    with VideoReader(clip("a.mkv", frames(2), codec="ffv1", pixel_format="bgr0", options={})) as reader:
        picture = next(iter(reader))
        with (
            pytest.raises(VideoError, match="more than one picture is made"),
            PictureWriter(out / "one.png", reader, None) as writer,
        ):
            writer.write(picture, Fraction(0))
            writer.write(picture, Fraction(1))
    assert not list(out.iterdir())
