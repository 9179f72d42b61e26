"""A VapourSynth clip through a bundle: what `edgeflow run` makes of the same frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

vs = pytest.importorskip("vapoursynth", reason="no vapoursynth: its wheels want Python 3.12 or newer")

from edgeflow.hosts.vapoursynth import apply  # noqa: E402
from edgeflow.hosts.vapoursynth.formats import pixels, put_pixels  # noqa: E402
from edgeflow.ir.errors import InputError  # noqa: E402
from edgeflow.ir.rules import KeyFrameInterval  # noqa: E402
from edgeflow.runtime import Rules  # noqa: E402


def clip_of(frames, fps=25):
    height, width, _ = frames[0].shape
    blank = vs.core.std.BlankClip(
        format=vs.RGB24, width=width, height=height, length=len(frames), fpsnum=fps, keep=True
    )

    def fill(n, f):
        out = f.copy()
        put_pixels(frames[n], out)
        return out

    return vs.core.std.ModifyFrame(blank, blank, fill)


def shown(clip, **options):
    return [pixels(frame) for frame in clip.frames(**options)]


def same(clip, wanted, **options):
    made = shown(clip, **options)
    assert len(made) == clip.num_frames == len(wanted)
    assert [n for n, (own, other) in enumerate(zip(made, wanted, strict=True)) if (own != other).any()] == []


@pytest.mark.parametrize("times", [2, 4])
def test_windows_of_four_frames_and_midpoints_of_midpoints(bundle, two_scenes, run, times):
    frames = two_scenes(48, 64)
    result = apply(clip_of(frames), bundle("four_frames"), times=times, threads=1)
    same(result, run(bundle("four_frames"), frames, times=times))
    assert result.fps == 25 * times
    cuts = [frame.props["_SceneChangePrev"] for frame in result.frames()]
    assert [number for number, cut in enumerate(cuts) if cut] == [7 * times]
    before = [frame.props["_SceneChangeNext"] for frame in result.frames()]
    assert [number for number, cut in enumerate(before) if cut] == [7 * times - 1]
    assert {frame.props["_DurationDen"] for frame in result.frames()} == {25 * times}


@pytest.mark.parametrize("rate", [{"times": 3}, {"fps": 60}, {"fps": Fraction(60000, 1001)}])
def test_any_time(bundle, two_scenes, run, rate):
    frames = two_scenes(48, 64)
    result = apply(clip_of(frames), bundle("any_time"), **rate, threads=1, in_flight=1)
    same(result, run(bundle("any_time"), frames, **rate))
    assert result.fps == rate.get("fps", 75)


def test_a_picture_of_another_scale(bundle, two_scenes, run):
    frames = two_scenes(32, 48)
    result = apply(clip_of(frames), bundle("larger"), threads=1)
    assert (result.width, result.height, result.fps) == (96, 64, 25)
    same(result, run(bundle("larger"), frames))


@pytest.mark.parametrize("many", [1, 8])
def test_states_follow_the_film_however_many_frames_are_asked_for_at_a_time(bundle, two_scenes, run, many):
    frames = two_scenes(16, 24)
    wanted = run(bundle("Shortcut"), frames)
    before = vs.core.num_threads
    vs.core.num_threads = many
    try:
        for _ in range(3):
            same(apply(clip_of(frames), bundle("Shortcut"), threads=1), wanted, prefetch=many)
    finally:
        vs.core.num_threads = before


def test_a_jump_begins_with_the_scene_or_says_that_it_does_not(bundle, two_scenes, run, caplog):
    frames = two_scenes(16, 24)
    wanted = run(bundle("Shortcut"), frames)
    clip = apply(clip_of(frames), bundle("Shortcut"), threads=1)
    assert [n for n in (10, 3, 9, 11) if (pixels(clip.get_frame(n)) != wanted[n]).any()] == []
    assert not caplog.records
    long = clip_of([frames[number % 7] for number in range(40)]).std.SetFrameProps(_SceneChangePrev=0)
    apply(long, bundle("Shortcut"), threads=1).get_frame(39)
    assert "frame 39 was asked for out of order" in caplog.text


def test_scenes_that_the_clip_tells_are_read(bundle, two_scenes):
    frames = two_scenes(48, 64)
    clip = clip_of(frames).std.SetFrameProps(_SceneChangePrev=0)
    told = vs.core.std.FrameEval(
        clip, lambda n: clip.std.SetFrameProps(_SceneChangePrev=1) if n == 3 else clip
    )
    result = apply(told, bundle("any_time"), threads=1)
    made = shown(result)
    assert (made[5] == frames[2]).all(), "nothing is made across the scene that is told"
    assert (made[13] != frames[6]).any(), "and what looks like a scene is none if the clip says so"
    ahead = clip_of(frames)
    ahead = vs.core.std.FrameEval(
        ahead, lambda n, ahead=ahead: ahead.std.SetFrameProps(_SceneChangeNext=int(n == 2))
    )
    same(apply(ahead, bundle("any_time"), threads=1), made)


def test_calls_run_at_a_time(bundle, two_scenes, monkeypatch):
    from threading import Barrier

    from edgeflow.runtime.session import Session

    met, run = Barrier(2, timeout=20), Session.run
    monkeypatch.setattr(Session, "run", lambda self, *inputs: (met.wait(), run(self, *inputs))[1])
    clip = apply(clip_of(two_scenes(48, 64)[:5]), bundle("any_time"), threads=1, in_flight=2)
    assert len(shown(clip, prefetch=4)) == 10  # four calls, two by two: each waits for another


@pytest.mark.parametrize("name", ["YUV420P8", "YUV444P10", "YUV422P16", "GRAY8", "RGB48", "YUV444PS"])
def test_other_formats_come_back_as_they_were(bundle, two_scenes, name):
    rgb = clip_of(two_scenes(48, 64))
    form = getattr(vs, name)
    clip = rgb.resize.Bicubic(format=form, **({} if name.startswith("RGB") else {"matrix": 1}))
    result = apply(clip, bundle("any_time"), threads=1)
    assert result.format.id == form
    own = [np.array(frame[0]) for frame in result.frames()]
    kept = [np.array(frame[0]) for frame in clip.frames()]
    assert [n for n, plane in enumerate(kept) if (own[2 * n] != plane).any()] == [], (
        "the clip's own frames stay"
    )
    assert (own[13] == kept[6]).all(), "and are repeated where a scene ends"
    assert (own[7] != kept[3]).any()
    middle = apply(
        clip.resize.Bicubic(format=vs.RGB24, **({} if name.startswith("RGB") else {"matrix_in": 1})),
        bundle("any_time"),
        threads=1,
    )
    back = result.resize.Bicubic(format=vs.RGB24, **({} if name.startswith("RGB") else {"matrix_in": 1}))
    # Chroma at half size blurs edges; nothing else is lost.
    assert np.abs(shown(back)[1].astype(int) - shown(middle)[1]).mean() < 4
    assert result.get_frame(1).props.get("_Matrix") == clip.get_frame(0).props.get("_Matrix")


def test_what_it_does_not_take_is_refused(bundle, two_scenes):
    frames = two_scenes(48, 64)
    clip = clip_of(frames)
    with pytest.raises(InputError, match="times is 3; choose 2 or 4 or 8"):
        apply(clip, bundle("four_frames"), times=3)
    with pytest.raises(InputError, match="the clip is 64x48, the bundle for 48x32"):
        apply(clip, bundle("larger"))
    with pytest.raises(InputError, match="makes no pictures"):
        apply(clip, bundle("labels"))
    with pytest.raises(InputError, match="several formats or sizes"):
        apply(vs.core.std.Splice([clip, clip[0].resize.Point(32, 32)], mismatch=True), bundle("any_time"))
    variable = vs.core.std.Splice([clip[:6], clip[6:].std.AssumeFPS(fpsnum=30)], mismatch=True)
    with pytest.raises(InputError, match="variable frame rate"):
        apply(variable, bundle("any_time"), fps=60)
    assert len(shown(apply(variable, bundle("any_time"), threads=1))) == 24
    with pytest.raises(vs.Error, match="is interlaced"):
        apply(clip.std.SetFieldBased(1), bundle("any_time"), threads=1).get_frame(0)


def test_rules_that_remember_follow_the_film(bundle, two_scenes):
    frames = two_scenes(16, 24)
    policy = Rules(mode=KeyFrameInterval(2))
    clip = apply(clip_of(frames), bundle("Shortcut"), policy=policy, threads=1, in_flight=3)
    assert len(shown(clip)) == 12
