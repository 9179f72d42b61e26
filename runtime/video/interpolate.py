"""Multiplies a video's frame rate: decoding, inference and encoding overlap in three stages.

A thread decodes, the calling thread runs the network, another thread encodes; bounded queues join
them (see `stages`), so memory stays level however long the film is.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from edgeflow.ir.errors import InputError
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.overlay import Region, Route, route_name
from edgeflow.runtime.video.reader import VideoReader
from edgeflow.runtime.video.scene import is_cut
from edgeflow.runtime.video.stages import Decoded, Finished, Stages
from edgeflow.runtime.video.writer import VideoWriter


class Trace(Protocol):
    """What the network decided in one run."""

    @property
    def regions(self) -> Sequence[Region]:
        """Each patch of the frame with its route."""


class Result(Protocol):
    """What one run gives."""

    @property
    def outputs(self) -> Sequence[Frame]:
        """First the middle frame: uint8, (H, W, 3), left alone by later runs."""

    @property
    def trace(self) -> Trace:
        """What was decided."""


class Session(Protocol):
    """A frame interpolator that is ready to run."""

    def run(self, frame0: Frame, frame1: Frame, /) -> Result:
        """The frame halfway between two."""

    def reset(self) -> None:
        """Forget earlier frames: the next belong to another scene."""


@dataclass(frozen=True)
class VideoReport:
    """What was done and how long it took.

    Attributes:
        frames_read: Frames of the source.
        frames_written: Frames of the result.
        cuts: Scene cuts, across which frames were repeated.
        decode_seconds: Time spent decoding; the three stages overlap.
        infer_seconds: Time spent in the session.
        encode_seconds: Time spent drawing the overlay and encoding.
        total_seconds: Time from start to end.
        fps: Frame rate of the result.
        routes: How many patches took each route, e.g. {"scale=1 exit=3": 120}.
        truncated: Whether the source's end was missing.
        warnings: What the user should know, one line each.
    """

    frames_read: int
    frames_written: int
    cuts: int
    decode_seconds: float
    infer_seconds: float
    encode_seconds: float
    total_seconds: float
    fps: float
    routes: Mapping[str, int]
    truncated: bool
    warnings: tuple[str, ...]


def interpolate_video(
    session: Session,
    source: str | Path | BinaryIO,
    destination: str | Path,
    *,
    times: int = 2,
    overlay: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Write a copy of a video with `times` its frame rate.

    The result lasts as long as the source: its last frame is repeated. Across a scene cut the frame
    before it is repeated instead of blended.

    Args:
        session: The interpolator.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for y4m on stdout.
        times: 2, or 4 for midpoints between midpoints.
        overlay: Whether to draw the routes of each pair of frames.
        on_progress: Called after each source frame with how many are done and, if known, how many there are.

    Raises:
        InputError: `times` is neither 2 nor 4.
        VideoError: The source cannot be read or the destination cannot be written.
    """
    if times not in (2, 4):
        raise InputError(f"times is {times}; choose 2 or 4")
    started = time.perf_counter()
    reader = VideoReader(source)
    info = reader.info
    try:
        writer = VideoWriter(
            destination, width=info.width, height=info.height, fps=info.fps * times, like=reader
        )
    except BaseException:
        reader.close()
        raise
    stages = Stages(reader, writer, overlay)
    middle = _Interpolation(session, stages, times)
    with stages.running():
        middle.run(lambda done: on_progress(done, info.frames) if on_progress else None)
    warnings = writer.warnings
    if reader.truncated:
        warnings += (f"{info.name}: its end is missing; the {middle.frames} frames it holds were used",)
    return VideoReport(
        frames_read=middle.frames,
        frames_written=middle.frames * times,
        cuts=middle.cuts,
        decode_seconds=stages.decode_seconds,
        infer_seconds=middle.seconds,
        encode_seconds=stages.encode_seconds,
        total_seconds=time.perf_counter() - started,
        fps=float(info.fps * times),
        routes=dict(sorted(middle.routes.items())),
        truncated=reader.truncated,
        warnings=warnings,
    )


class _Interpolation:
    """The middle stage: pairs the source's frames and fills in between."""

    def __init__(self, session: Session, stages: Stages, times: int) -> None:
        self._session, self._stages, self._times = session, stages, times
        self._known: dict[str, Route] = {}
        self.frames = self.cuts = 0
        self.seconds = 0.0
        self.routes: Counter[str] = Counter()

    def run(self, on_frame: Callable[[int], None]) -> None:
        previous: Decoded | None = None
        for current in self._stages.decoded:
            if previous is not None:
                self._pair(previous, current.frame)
            previous = current
            self.frames += 1
            on_frame(self.frames)
        if previous is not None:
            self._emit(previous, repeat=self._times)
        self._stages.finished.put(None)

    def _pair(self, previous: Decoded, current: Frame) -> None:
        """Emit the first frame of a pair and what lies between the two."""
        if is_cut(previous.frame, current):
            self.cuts += 1
            self._session.reset()
            self._emit(previous, repeat=self._times)
            return
        between = self._between(previous.frame, current, self._times)
        # The source frame shows the routes of what follows it; without any the overlay would flicker.
        self._emit(previous, between[0].trace.regions)
        for result in between:
            self._emit(Decoded(result.outputs[0], []), result.trace.regions)

    def _between(self, first: Frame, second: Frame, times: int) -> list[Result]:
        """The times - 1 results between two frames: the middle, and the middles of the halves."""
        started = time.perf_counter()
        middle = self._session.run(first, second)
        self.seconds += time.perf_counter() - started
        for region in middle.trace.regions:
            name = route_name(region.route)
            self.routes[name] += 1
            self._known.setdefault(name, region.route)
        if times == 2:
            return [middle]
        frame = middle.outputs[0]
        before, after = (self._between(*half, times // 2) for half in ((first, frame), (frame, second)))
        return [*before, middle, *after]

    def _emit(self, source: Decoded, regions: Sequence[Region] = (), repeat: int = 1) -> None:
        known = tuple(self._known.values())
        self._stages.finished.put(Finished(source.frame, repeat, source.audio, regions, known))
