"""Takes a video through a network: decoding, inference and encoding overlap in three stages.

A thread decodes, the calling thread runs the network, another thread encodes; bounded queues join
them (see `stages`), so memory stays level however long the film is.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.destination import check_destination
from edgeflow.runtime.video.overlay import Region, Route, route_name
from edgeflow.runtime.video.reader import VideoReader
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
        """First the picture: uint8, (H, W, 3), left alone by later runs."""

    @property
    def trace(self) -> Trace:
        """What was decided."""


class Session(Protocol):
    """A network that is ready to run."""

    @property
    def in_flight(self) -> int:
        """Threads that may call `run` at a time."""

    def run(self, *frames: Frame) -> Result:
        """The picture that it makes of one or more successive frames."""

    def reset(self) -> None:
        """Forget earlier frames: the next belong to another scene."""


@dataclass(frozen=True)
class VideoReport:
    """What was done and how long it took.

    Attributes:
        frames_read: Frames of the source.
        frames_written: Frames of the result.
        cuts: Scene cuts: nothing was carried or blended across them.
        decode_seconds: Time spent decoding; the three stages overlap.
        infer_seconds: Time spent waiting for the session.
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


class Conversion(ABC):
    """The middle stage: what becomes of the source's frames.

    Attributes:
        frames: Read so far.
        cuts: Found so far.
        seconds: Spent waiting for the session so far.
        routes: How many patches took each route so far.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, Route] = {}
        self.frames = self.cuts = 0
        self.seconds = 0.0
        self.routes: Counter[str] = Counter()

    @abstractmethod
    def run(self, stages: Stages, on_frame: Callable[[int], None]) -> None:
        """Turn all that is decoded into what is finished."""

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def _note(self, result: Result) -> None:
        """Count a result's routes."""
        for region in result.trace.regions:
            name = route_name(region.route)
            self.routes[name] += 1
            self._known.setdefault(name, region.route)

    def _finished(self, source: Decoded, regions: Sequence[Region], repeat: int = 1) -> Finished:
        return Finished(source.frame, repeat, source.audio, regions, tuple(self._known.values()))


def convert(
    conversion: Conversion,
    source: str | Path | BinaryIO,
    destination: str | Path,
    *,
    times: int,
    overlay: bool,
    overwrite: bool,
    resize: Callable[[int, int], tuple[int, int]] | None,
    picture: Callable[[int, int], tuple[int, int]] | None = None,
    on_progress: Callable[[int, int | None], None] | None,
) -> VideoReport:
    """Write what a conversion makes of a video; the sound is kept.

    Args:
        conversion: Writes `times` frames for every frame.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for y4m on stdout.
        times: The result's frame rate over the source's.
        overlay: Whether to draw routes.
        overwrite: Whether a file that is there may be replaced.
        resize: The (height, width) at which frames of this height and width are read; as they are if None.
        picture: The (height, width) of what is made of frames read at this height and width; as them if None.
        on_progress: Called after each source frame with how many are done and, if known, how many there are.

    Raises:
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    check_destination(source, destination, overwrite)
    started = time.perf_counter()
    reader = VideoReader(source, resize)
    info = reader.info
    try:
        height, width = picture(info.height, info.width) if picture else (info.height, info.width)
        writer = VideoWriter(destination, width=width, height=height, fps=info.fps * times, like=reader)
    except BaseException:
        reader.close()
        raise
    stages = Stages(reader, writer, overlay)
    with stages.running():
        conversion.run(stages, lambda done: on_progress(done, info.frames) if on_progress else None)
        stages.finished.put(None)
    warnings = writer.warnings
    if reader.truncated:
        warnings += (f"{info.name}: its end is missing; the {conversion.frames} frames it holds were used",)
    return VideoReport(
        frames_read=conversion.frames,
        frames_written=conversion.frames * times,
        cuts=conversion.cuts,
        decode_seconds=stages.decode_seconds,
        infer_seconds=conversion.seconds,
        encode_seconds=stages.encode_seconds,
        total_seconds=time.perf_counter() - started,
        fps=float(info.fps * times),
        routes=dict(sorted(conversion.routes.items())),
        truncated=reader.truncated,
        warnings=warnings,
    )
