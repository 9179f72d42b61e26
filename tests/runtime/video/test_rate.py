"""When pictures are shown, by multiples, by frames per second, and where frames repeat."""

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.ir.errors import InputError
from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.convert import Options
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.rate import FASTEST, Fps, Times, parse_fps
from edgeflow.runtime.video.repeats import repeats
from edgeflow.runtime.video.writing.encoder import Encoding

TIMED = Task((0, 1), (Made("image", 0.5),), timed=True)
USUAL = Fraction(1, 25)


class Blending:
    """Blends two frames as the time says, and keeps the times."""

    in_flight = 1

    def __init__(self, looks_back=True):
        self.times, self.looks_back = [], looks_back

    def run(self, frame0, frame1, time):
        self.times.append(round(float(time[0]), 3))
        made = np.rint(frame0 * (1.0 - time[0]) + frame1 * time[0]).astype(np.uint8)
        return SimpleNamespace(outputs=(made,), trace=SimpleNamespace(regions=()))

    def reset(self):
        pass


def shades(path):
    """(time, brightness) of every picture of a film."""
    with av.open(str(path)) as film:
        return [
            (float(f.time), float(f.to_ndarray(format="rgb24").mean()))
            for f in film.decode(film.streams.video[0])
        ]


@pytest.fixture
def ramp(clip):
    """A film that brightens by 20 levels a frame, 25 frames a second."""

    def made(levels=(40, 60, 80, 100, 120), name="ramp.mkv"):
        frames = [np.full((64, 96, 3), level, np.uint8) for level in levels]
        return clip(name, frames, codec="ffv1", pixel_format="bgr0", options={})

    return made


def test_pictures_across_a_pause_come_before_its_end():
    assert [each.time for each in Times(2).shown(Fraction(1), Fraction(3), USUAL)] == [1, 3 - USUAL / 2]
    even = Times(4).shown(Fraction(1), 1 + USUAL, USUAL)
    assert [each.time for each in even] == [1 + k * USUAL / 4 for k in range(4)]
    still = Fps(Fraction(50)).shown(Fraction(0), Fraction(1), USUAL)
    assert len(still) == 50 and [each.place for each in still if each.place] == [Fraction(1, 2)]


def test_a_slow_film_has_no_pause_at_its_start(clip, out):
    levels = (40, 60, 80, 100, 120)
    frames = [np.full((64, 96, 3), level, np.uint8) for level in levels]
    film = clip("slow.mkv", frames, fps=Fraction(5), codec="ffv1", pixel_format="bgr0", options={})
    convert_film(Blending(), TIMED, film, out / "b.mkv", times=2)
    assert np.allclose([level for _, level in shades(out / "b.mkv")][:9], np.arange(40, 121, 10), atol=2)


@given(
    steps=st.lists(st.fractions(Fraction(1, 100), Fraction(1, 10)), min_size=1, max_size=20),
    fps=st.fractions(1, 120, max_denominator=1001),
)
def test_frames_per_second_come_evenly_whatever_the_source_does(steps, fps):
    times = [sum(steps[:k], Fraction(0)) for k in range(len(steps) + 1)]
    shown = [each for here, then in pairwise(times) for each in Fps(fps).shown(here, then, USUAL)]
    assert [each.time for each in shown] == [k / fps for k in range(len(shown))]
    assert all(0 <= each.place < 1 for each in shown)
    assert times[-1] <= len(shown) / fps < times[-1] + 1 / fps


def test_frames_per_second_as_people_write_them():
    assert [str(parse_fps(text)) for text in ("60", "59.94", "23.976", "29.97", "24000/1001", "12.5")] == [
        "60",
        "60000/1001",
        "24000/1001",
        "30000/1001",
        "24000/1001",
        "25/2",
    ]
    for text in ("fast", "0", "-5", str(FASTEST + 1), "1/0", "nan"):
        with pytest.raises(InputError, match="--fps"):
            parse_fps(text)


def test_any_multiple_of_a_model_that_takes_a_time(ramp, out):
    session = Blending()
    report = convert_film(session, TIMED, ramp(), out / "b.mkv", times=5)
    assert (report.frames_written, report.fps) == (25, 125)
    assert session.times == [0.2, 0.4, 0.6, 0.8] * 4
    found = shades(out / "b.mkv")
    assert np.allclose([level for _, level in found], [*np.arange(40, 121, 4), *[120] * 4], atol=2)
    assert np.allclose([time for time, _ in found], np.arange(25) / 125, atol=1e-3)


@pytest.mark.parametrize("fps", [60, 24, 10])
def test_frames_per_second_of_a_film(ramp, out, fps):
    report = convert_film(Blending(), TIMED, ramp(), out / "b.mkv", fps=Fraction(fps))
    found = shades(out / "b.mkv")
    assert report.fps == fps and len(found) == report.frames_written == -(-5 * fps // 25)
    for time, level in found:
        assert abs(level - min(40 + time * 25 * 20, 120)) < 2.5


def test_repeated_frames_are_left_out_and_motion_is_spread(ramp, out):
    on_twos = ramp((40, 40, 60, 60, 80, 80, 100, 100))
    report = convert_film(Blending(), TIMED, on_twos, out / "b.mkv", times=2, spread=True)
    levels = [level for _, level in shades(out / "b.mkv")]
    assert (report.frames_read, report.frames_written, report.fps) == (8, 16, 50)
    assert np.allclose(levels[:13], np.arange(40, 101, 5), atol=2)
    kept = convert_film(Blending(), TIMED, on_twos, out / "c.mkv", times=2)
    assert kept.frames_written == 16 and shades(out / "c.mkv")[1][1] == pytest.approx(40, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("looks_back", [False, True])
@pytest.mark.parametrize("stop", [12, 31])
def test_a_film_that_was_stopped_goes_on_as_if_it_had_not_been(
    ramp, out, monkeypatch, looks_back, spread, stop
):
    monkeypatch.setattr("edgeflow.runtime.video.writing.film_writer.FRAMES", 5)
    film = ramp([40 + 2 * (i // 2) for i in range(40)])

    class Stops(Blending):
        def run(self, *given):
            if len(self.times) == stop:
                raise KeyboardInterrupt
            return super().run(*given)

    asked = {"fps": Fraction(60), "spread": spread}
    lossless = Encoding(codec="ffv1")  # a lossy one shows where its pieces begin, and a stop decides that
    convert_film(Blending(looks_back), TIMED, film, out / "whole.mkv", **asked, options=Options(lossless))
    with pytest.raises(KeyboardInterrupt):
        convert_film(Stops(looks_back), TIMED, film, out / "b.mkv", **asked, options=Options(lossless))
    going_on = Options(lossless, resume=True)
    convert_film(Blending(looks_back), TIMED, film, out / "b.mkv", **asked, options=going_on)
    assert shades(out / "b.mkv") == shades(out / "whole.mkv")


def test_a_small_motion_is_no_repeat_and_noise_is():
    random = np.random.default_rng(0)
    frame = random.integers(40, 200, (90, 122, 3), dtype=np.uint8)
    noisy = (frame.astype(int) + random.integers(-2, 3, frame.shape)).clip(0, 255).astype(np.uint8)
    moved = frame.copy()
    moved[80:90, 110:122] = 255 - moved[80:90, 110:122]
    assert repeats(frame, noisy) and not repeats(frame, moved)


@pytest.mark.parametrize(
    ("task", "asked", "complaint"),
    [
        (TIMED, {"times": 1}, "times is 1; choose 2 or more"),
        (TIMED, {"times": 2, "fps": Fraction(60)}, "give one"),
        (Task((0, 1), (Made("image", 0.5),)), {"fps": Fraction(60)}, "takes no time"),
        (Task((0, 1), (Made("image", 0.5),)), {"times": 3}, "choose 2 or 4 or 8"),
        (Task((0,), (Made("image"),)), {"fps": Fraction(60)}, "leaves their rate as it is"),
    ],
)
def test_rates_that_a_model_cannot_make(ramp, out, task, asked, complaint):
    with pytest.raises(InputError, match=complaint):
        convert_film(Blending(), task, ramp(), out / "b.mkv", **asked)
    assert list(out.iterdir()) == []
