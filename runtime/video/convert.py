"""Takes a video through a network: decoding, inference and encoding overlap in three stages.

A thread decodes, the calling thread runs the network, another thread encodes; bounded queues join
them (see `stages`), so memory stays level however long the film is.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, Protocol

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.overlay import Region, route_name
from edgeflow.runtime.video.rate import Rate
from edgeflow.runtime.video.reading.damage import Place
from edgeflow.runtime.video.reading.info import VideoInfo
from edgeflow.runtime.video.reading.reader import Reading, VideoReader
from edgeflow.runtime.video.reading.source import Source, is_kept
from edgeflow.runtime.video.spans import Span
from edgeflow.runtime.video.stages import Decoded, Finished, Stages
from edgeflow.runtime.video.writing.assembly import Filming
from edgeflow.runtime.video.writing.destination import JOINED, check_destination, container_of
from edgeflow.runtime.video.writing.encoder import Encoding
from edgeflow.runtime.video.writing.film_writer import FilmWriter
from edgeflow.runtime.video.writing.pictures import PictureWriter, are_pictures, check_pictures
from edgeflow.runtime.video.writing.writer import VideoWriter


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
        frames_dropped: Of a live source, since newer ones came before the model was done.
        frames_resumed: Of the frames read, those that an earlier run had done.
        pictures_resumed: Of the frames written, those that it had made.
        damage: Where something is wrong with the source: data that cannot be decoded, gaps, silence.
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
    frames_dropped: int = 0
    frames_resumed: int = 0
    pictures_resumed: int = 0
    damage: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a film is read and written.

    Attributes:
        encoding: what is asked of the encoder.
        strict: damage in the source is an error.
        deinterlace: make one picture of two fields.
        start: seconds into the source to begin at.
        frames: of the source to read at most; all if None.
        resume: go on with what an earlier run left.
        what: whatever else the pictures depend on, to tell runs apart: model, policy.
        on_stop: told in a line what was kept, when the making is stopped.
    """

    encoding: Encoding = field(default_factory=Encoding)
    strict: bool = False
    deinterlace: bool = False
    start: float = 0.0
    frames: int | None = None
    resume: bool = False
    what: Mapping[str, Any] = field(default_factory=dict)
    on_stop: Callable[[str], None] = lambda kept: None


class Conversion(ABC):
    """The middle stage: what becomes of the source's frames.

    Attributes:
        frames: Read so far.
        cuts: Found so far.
        seconds: Spent waiting for the session so far.
        routes: How many patches took each route so far.
        first: Frames before this one are left out: an earlier run made what hangs on them.
        done: Of frames before this one an earlier run wrote what is made.
        scene: First frame of the scene that is open.
        looks_back: A frame's picture depends on more than the frames of its call.
        span: That it makes of the film; all of it if None.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, int] = {}
        self.frames = self.cuts = 0
        self.seconds = 0.0
        self.routes: Counter[str] = Counter()
        self.first = self.done = self.scene = 0
        self.looks_back = bool(getattr(session, "looks_back", True))
        self.span: Span | None = None

    @property
    @abstractmethod
    def reach(self) -> int:
        """Frames before one that it takes to make its picture, where no state is kept."""

    def go_on(self, done: int, scene: int) -> None:
        """Leave out what an earlier run did.

        Args:
            done: frames that are done.
            scene: first frame of the scene that was open then.
        """
        self.done = done
        self.first = scene if self.looks_back else max(scene, done - self.reach)
        self.scene = min(scene, self.first)

    def take(self, span: Span) -> None:
        """Make one span of the film: the frames given are those from its start on."""
        self.span = span
        self.frames = self.first = span.start
        self.done, self.scene = span.first, span.scene

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
            self._known.setdefault(name, region.flops)

    def _finished(
        self,
        source: Decoded,
        times: Sequence[Fraction],
        regions: Sequence[Region],
        done: tuple[int, int] | None,
    ) -> Finished:
        known = dict(self._known)
        return Finished(source.frame, times, source.audio, regions, known, source.deep, done)


def convert(
    conversion: Conversion,
    source: Source,
    destination: str | Path,
    *,
    rate: Rate,
    overlay: bool,
    overwrite: bool,
    options: Options,
    resize: Callable[[int, int], tuple[int, int]] | None,
    picture: Callable[[int, int], tuple[int, int]] | None = None,
    on_progress: Callable[[int, int | None], None] | None,
) -> VideoReport:
    """Write what a conversion makes of a video; the sound is kept.

    Args:
        conversion: Makes the pictures.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for y4m on stdout.
        rate: When the result's pictures are shown.
        overlay: Whether to draw routes.
        overwrite: Whether a file that is there may be replaced.
        options: How to read and write it.
        resize: The (height, width) at which frames of this height and width are read; as they are if None.
        picture: The (height, width) of what is made of frames read at this height and width; as them if None.
        on_progress: Called after each source frame with how many are done and, if known, how many there are.

    Raises:
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    place = _checked(source, destination, overwrite, options)
    started = time.perf_counter()
    reading = Reading(
        resize,
        options.strict,
        options.deinterlace,
        deep=options.encoding.bits != 8 and not overlay and place is not _Place.PICTURES,
        start=options.start,
        frames=options.frames,
    )
    reader = VideoReader(source, reading=reading)
    info = reader.info
    try:
        size = picture(info.height, info.width) if picture else (info.height, info.width)
        what = {**options.what, "overlay": overlay, "deinterlace": options.deinterlace}
        writer = _writer(
            place, source, destination, reader, size, rate, replace(options, what=what), overwrite
        )
        if isinstance(writer, FilmWriter):
            conversion.go_on(writer.frames, writer.scene)
    except BaseException:
        reader.close()
        raise
    resumed = conversion.done, writer.written
    stages = Stages(reader, writer, overlay)
    try:
        with stages.running():
            conversion.run(
                stages, lambda done: on_progress(done, _total(info, options)) if on_progress else None
            )
            stages.finished.put(None)
    except BaseException:
        if isinstance(writer, FilmWriter) and (kept := writer.keep()):
            options.on_stop(kept)
        raise
    return VideoReport(
        frames_read=conversion.frames,
        frames_written=writer.written,
        cuts=conversion.cuts,
        decode_seconds=stages.decode_seconds,
        infer_seconds=conversion.seconds,
        encode_seconds=stages.encode_seconds,
        total_seconds=time.perf_counter() - started,
        fps=float(rate.of(info.fps)),
        routes=dict(sorted(conversion.routes.items())),
        truncated=reader.truncated,
        warnings=(
            *reader.remarks,
            *writer.warnings,
            *reader.damage.lines(info.name),
            *_cut_short(reader, conversion),
            *_alone(reader, conversion, writer.written),
        ),
        frames_dropped=reader.dropped,
        frames_resumed=resumed[0],
        pictures_resumed=resumed[1],
        damage=tuple(reader.damage.places),
    )


class _Place(Enum):
    """What a result is written as: numbered pictures, a film in parts that can be gone on with, or one in one go."""

    PICTURES = "pictures"
    PARTS = "parts"
    STREAM = "stream"


def _checked(source: Source, destination: str | Path, overwrite: bool, options: Options) -> _Place:
    """What a result is written as.

    Raises:
        VideoError: It may not be written there, or cannot be gone on with.
    """
    place = _Place.PICTURES if are_pictures(destination) else _Place.STREAM
    if (
        place is _Place.STREAM
        and is_kept(source)
        and str(destination) != "-"
        and container_of(destination) in JOINED
    ):
        file = Path(destination)
        place = _Place.PARTS if file.is_file() or not file.exists() else _Place.STREAM
    if options.resume and place is not _Place.PARTS:
        raise VideoError("--resume goes on with a film that is made of a file, in a file: leave it out here")
    if place is _Place.PICTURES:
        check_pictures(source, destination, overwrite)
    elif not options.resume:
        check_destination(source, destination, overwrite)
    return place


def _writer(
    place: _Place,
    source: Source,
    destination: str | Path,
    reader: VideoReader,
    size: tuple[int, int],
    rate: Rate,
    options: Options,
    overwrite: bool,
) -> VideoWriter | FilmWriter | PictureWriter:
    """What writes pictures of a (height, width) in a place."""
    height, width = size
    fps, made = reader.info.fps, rate.of(reader.info.fps)
    if place is _Place.PICTURES:
        total = _likely(reader.info, options)
        return PictureWriter(destination, reader, total and floor(total * made / fps))
    if place is _Place.STREAM:
        asked = options.encoding
        return VideoWriter(
            destination, width=width, height=height, fps=made, like=reader, asked=asked, times=made / fps
        )
    film = Filming(
        Path(str(source)),
        Path(destination),
        (width, height),
        rate,
        options.encoding,
        options.start,
        options.frames,
        options.what,
        options.resume,
        overwrite,
    )
    return FilmWriter(film, reader)


def _cut_short(reader: VideoReader, conversion: Conversion) -> tuple[str, ...]:
    """That a source's end was missing, in words."""
    if not reader.truncated:
        return ()
    ended = "sent nothing more" if reader.live else "its end is missing"
    return (f"{reader.info.name}: {ended}; the {conversion.frames} frames it holds were used",)


def _alone(reader: VideoReader, conversion: Conversion, written: int) -> tuple[str, ...]:
    """That there was nothing to interpolate, in words."""
    if conversion.frames != 1 or written < 2:
        return ()
    return (f"{reader.info.name}: is one picture, with nothing to interpolate to: it is repeated",)


def _total(info: VideoInfo, options: Options) -> int | None:
    """Frames that will be read, as far as that is known."""
    return options.frames if options.frames is not None else None if options.start else info.frames


def _likely(info: VideoInfo, options: Options) -> int | None:
    """Frames that will be read, by the film's length where they were not counted."""
    total = _total(info, options)
    return total if total or info.seconds is None else round(info.seconds * info.fps)
