"""A bundle as a filter of a clip: pictures in place of its frames, or between them, as the model's task says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import vapoursynth as vs

from edgeflow.hosts.vapoursynth.callers import Caller, CallerInOrder, pictures_of
from edgeflow.hosts.vapoursynth.formats import Format
from edgeflow.hosts.vapoursynth.scenes import NEXT, PREVIOUS, mark_scenes
from edgeflow.hosts.vapoursynth.windows import shifted
from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.errors import InputError
from edgeflow.runtime.session import Session, fitting_size, picture_size
from edgeflow.runtime.stream.policy import Policy
from edgeflow.runtime.video.calls import Calls, film_calls
from edgeflow.runtime.video.rate import Fps, Shown, Times


def apply(
    clip: vs.VideoNode,
    bundle: Bundle | str | Path,
    *,
    times: int | None = None,
    fps: Fraction | int | None = None,
    policy: Policy | None = None,
    library: str | None = None,
    threads: int | None = None,
    in_flight: int = 2,
) -> vs.VideoNode:
    """What a bundle's model makes of a clip: the pictures that `edgeflow run` makes of the same frames.

    The model takes RGB at 8 bits. A clip of another format is converted by VapourSynth, and what the model makes is converted back;
    frames that stay, between which pictures are made, are the clip's own.

    Scenes begin where the clip's frames say so (`_SceneChangePrev`, or `_SceneChangeNext` of the frame before); where they
    say nothing, frames are compared. No call reads frames of two scenes: windows repeat the scene's edge frame, and between
    scenes the frame before is repeated. The result's frames have both properties.

    Args:
        clip: of one format and size.
        bundle: an open bundle, or the path of one.
        times: the result's frame rate over the clip's, if the model makes pictures between frames; what its task says if None.
        fps: the result's frame rate instead, of a model that takes a time.
        policy: what to make of the model's decisions; its own by default.
        library: engine library; the target's by default.
        threads: CPU threads of the engines; all by default.
        in_flight: calls that may run at a time; a model that looks back at earlier frames makes one after the other.

    Raises:
        InputError: the clip is of a format, size or rate that the bundle does not take, or its model makes no film.
        BundleError, BackendError: the bundle or its engines cannot be loaded.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    calls = film_calls(opened.manifest.task, times, None if fps is None else Fraction(fps))
    _check(clip, calls, opened)
    session = _session(opened, clip, policy, library, threads, in_flight)
    form = Format.of(clip)
    scenes = mark_scenes(form.to_rgb(clip))
    timing = _Timing(calls, clip)
    called = timing.spread(_called(scenes, session, calls, timing))
    made = form.from_rgb(_made(called, picture_size(opened, clip.height, clip.width), timing))
    told = clip.std.CopyFrameProps(scenes, props=[PREVIOUS, NEXT])
    return _finished(timing.spread(told), made, timing)


def _check(clip: vs.VideoNode, calls: Calls, bundle: Bundle) -> None:
    """Refuse clips whose frames differ in format, are of a size that the bundle is not for, or have no rate where one is needed.

    Raises:
        InputError: it is such a clip.
    """
    if clip.format is None or 0 in (clip.width, clip.height):
        raise InputError(
            "the clip's frames are of several formats or sizes: give one of a single format and size, for example by "
            "core.resize.Bicubic(clip, width, height, format=vs.YUV420P8)"
        )
    height, width = fitting_size(bundle.manifest.plans, clip.height, clip.width)
    if (height, width) != (clip.height, clip.width):
        raise InputError(
            f"the clip is {clip.width}x{clip.height}, the bundle for {width}x{height}: resize it before, for example by "
            f"core.resize.Bicubic(clip, {width}, {height})"
        )
    if isinstance(calls.rate, Fps) and not clip.fps:
        raise InputError(
            "the clip has a variable frame rate, so another rate cannot be counted from it: give times instead of fps"
        )


def _session(
    bundle: Bundle,
    clip: vs.VideoNode,
    policy: Policy | None,
    library: str | None,
    threads: int | None,
    in_flight: int,
) -> Session:
    session = Session(bundle, policy=policy, library=library, threads=threads, in_flight=in_flight)
    if session.looks_back and in_flight > 1:
        session.close()
        session = Session(bundle, policy=policy, library=library, threads=threads)
    session.prepare(clip.height, clip.width)
    return session


class _Timing:
    """Which frame and which of its pictures each frame of the result is."""

    def __init__(self, calls: Calls, clip: vs.VideoNode) -> None:
        self._rate, self._count, self._clip_fps = calls.rate, clip.num_frames, clip.fps or Fraction(1)
        self.replaces = calls.replaces

    def spread(self, clip: vs.VideoNode) -> vs.VideoNode:
        """A clip of as many frames as the source, with each as often as the result has pictures from it on."""
        if isinstance(self._rate, Times):
            return clip if self._rate.factor == 1 else vs.core.std.Interleave([clip] * self._rate.factor)
        length = max(-(-self._count * self._rate.fps // self._clip_fps), 1)
        blank = vs.core.std.BlankClip(clip, length=int(length), keep=True)
        spread = vs.core.std.FrameEval(blank, lambda n: clip[self.source(n)])
        return spread.std.AssumeFPS(fpsnum=self._rate.fps.numerator, fpsden=self._rate.fps.denominator)

    def source(self, number: int) -> int:
        """The frame of the clip that a frame of the result is, or comes after."""
        if isinstance(self._rate, Times):
            return number // self._rate.factor
        passed = number * Fraction(self._clip_fps) / self._rate.fps
        return int(min(passed, self._count - 1))

    def shown(self, source: int) -> Sequence[Shown]:
        """The pictures from one frame of the clip to the next."""
        usual = 1 / self._clip_fps
        return self._rate.shown(source * usual, (source + 1) * usual, usual)

    def place(self, number: int) -> tuple[int, Sequence[Shown]]:
        """Which picture of its frame's a frame of the result is, and all of these."""
        source = self.source(number)
        if isinstance(self._rate, Times):
            return number - source * self._rate.factor, self.shown(source)
        first = -(-source * self._rate.fps // self._clip_fps)
        return int(number - first), self.shown(source)


def _called(scenes: vs.VideoNode, session: Session, calls: Calls, timing: _Timing) -> vs.VideoNode:
    """A clip's frames, each with the pictures that its call makes, see `pictures_of`."""
    count = scenes.num_frames
    if session.looks_back:
        caller: Caller = CallerInOrder(session, calls, count, timing.shown, 2 * vs.core.num_threads + 2)
    else:
        caller = Caller(session, calls, count, timing.shown)
    return _in_lanes(scenes, [shifted(scenes, by) for by in caller.reach], caller, session.in_flight)


def _in_lanes(
    base: vs.VideoNode,
    clips: Sequence[vs.VideoNode],
    make: Callable[[int, Sequence[vs.VideoFrame]], vs.VideoFrame],
    lanes: int,
) -> vs.VideoNode:
    """Several filters that take turns: of one filter in Python VapourSynth runs one frame at a time."""
    lanes = min(lanes, base.num_frames)
    if lanes == 1:
        return _modified(base, clips, make)

    def lane(own: int) -> vs.VideoNode:
        turn = {"cycle": lanes, "offsets": own, "modify_duration": False}
        each = [clip.std.SelectEvery(**turn) for clip in clips]
        return _modified(base.std.SelectEvery(**turn), each, lambda number, f: make(number * lanes + own, f))

    return vs.core.std.Interleave([lane(own) for own in range(lanes)], modify_duration=False)


def _modified(
    base: vs.VideoNode,
    clips: Sequence[vs.VideoNode],
    make: Callable[[int, Sequence[vs.VideoFrame]], vs.VideoFrame],
) -> vs.VideoNode:
    """A clip like `base` of what is made of others' frames."""

    def selector(n: int, f: Any) -> vs.VideoFrame:
        return make(n, f if isinstance(f, list) else [f])

    return vs.core.std.ModifyFrame(base, list(clips), selector)


_MADE = "_EdgeflowMade"


def _made(spread: vs.VideoNode, size: tuple[int, int], timing: _Timing) -> vs.VideoNode:
    """The result in RGB: a picture, or the frame itself where there is none, of the size (height, width)."""
    height, width = size
    blank = vs.core.std.BlankClip(spread, width=width, height=height, keep=True)

    def pick(number: int, frames: Sequence[vs.VideoFrame]) -> vs.VideoFrame:
        place, shown = timing.place(number)
        pictures = pictures_of(frames[0])
        if not pictures or (not timing.replaces and not shown[place].place):
            picked, made = frames[0], 0
        else:
            before = 0 if timing.replaces else sum(not each.place for each in shown[:place])
            picked, made = pictures[place - before], 1
        out = picked.copy()
        out.props.clear()
        out.props[_MADE] = made
        return out

    return _modified(blank, [spread], pick)


def _finished(source: vs.VideoNode, made: vs.VideoNode, timing: _Timing) -> vs.VideoNode:
    """The result: what was made, and the clip's own frames, with the properties of these."""

    def finish(number: int, frames: Sequence[vs.VideoFrame]) -> vs.VideoFrame:
        own, picture = frames[0], frames[-1]
        place, shown = timing.place(number)
        out = (picture if picture.props.get(_MADE) else own).copy()
        out.props.clear()
        out.props.update(own.props)
        out.props[PREVIOUS] = own.props[PREVIOUS] if place == 0 else 0
        out.props[NEXT] = own.props[NEXT] if place == len(shown) - 1 else 0
        return out

    def choose(n: int) -> vs.VideoNode:
        place, shown = timing.place(n)
        return pictures if shown[place].place else kept

    result = pictures = _modified(made, [source, made], finish)
    if not timing.replaces:  # a frame that stays does not wait for the call that is made there
        kept = _modified(source, [source], finish)
        result = vs.core.std.FrameEval(source, choose)
    return result.std.AssumeFPS(fpsnum=source.fps_num, fpsden=source.fps_den) if source.fps_num else result
