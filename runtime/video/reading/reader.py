"""Reads a film as RGB frames with their times.

What is wrong with a film is said, and its time kept: packets that cannot be decoded are counted, the last good picture stands until
the next one, and what follows keeps its place beside the sound (`VideoReader.damage`). With `strict` damage raises instead, naming
the frame. A file whose end is missing (a download or a recording that stopped) gives the frames it holds and sets `truncated`. Formats
that promise no length (raw .264, y4m) show it where the last picture is cut.

Pictures are turned and mirrored as the header asks, so that what is cut into tiles is what people see.
"""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.colour import Colour, Frame, Rgb
from edgeflow.runtime.video.reading.avi_index import AviIndex
from edgeflow.runtime.video.reading.clock import Clock
from edgeflow.runtime.video.reading.damage import Damage
from edgeflow.runtime.video.reading.fields import Deinterlacer
from edgeflow.runtime.video.reading.live import Newest
from edgeflow.runtime.video.reading.mastering import Mastering, mastering_of
from edgeflow.runtime.video.reading.orientation import orientation_of, side_data
from edgeflow.runtime.video.reading.source import Source, is_live, open_source

_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_DEFAULT = 0x1  # AV_DISPOSITION_DEFAULT

# How far the data may end before the length the container promises and still count as whole:
# sound and picture seldom end together, and headers round.
_SLACK_SECONDS = 0.5
_LEAST_SILENCE = 0.2
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Shot:
    """A frame and when it is shown.

    Attributes:
        pixels: uint8 RGB, (H, W, 3), contiguous.
        time: Seconds from the film's start.
        deep: The same at 16 bits, uint16, where the source holds more than 8 and that is asked for.
    """

    pixels: Frame
    time: Fraction
    deep: NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself.

    Attributes:
        name: What messages call it: the path, or "stdin".
        width: Width in pixels of the frames given, as they are shown.
        height: Height in pixels of the frames given, as they are shown.
        fps: Frames per second.
        frames: Number of frames where the container states it.
        colour: Range and matrix.
        pixel_aspect: Width of a pixel over its height; None is square or unstated.
        origin: The container's first timestamp in seconds, where a copy begins anew.
        start: Seconds from there to the first picture.
        audio: Codec name of each audio stream.
        bits: Of each channel.
        seconds: The film's length where the container states it.
        bit_rate: Of the picture in bits a second, where it is known and the codec is one for watching.
        mastering: The display it was mastered on, if it says so.
        index: Of the video stream in its container.
    """

    name: str
    width: int
    height: int
    fps: Fraction
    frames: int | None
    colour: Colour
    pixel_aspect: Fraction | None
    origin: Fraction
    start: Fraction
    audio: tuple[str, ...]
    bits: int
    seconds: float | None
    bit_rate: int | None
    mastering: Mastering | None
    index: int


@dataclass(frozen=True)
class Reading:
    """How a film is to be read.

    Attributes:
        resize: The (height, width) to give frames of this height and width at; as they are if None.
        strict: Damage is an error.
        deinterlace: Make one picture of two fields; without it interlaced films are refused.
        deep: Give frames at 16 bits beside those at 8, where the source holds more.
        start: Seconds into the film to begin at.
        frames: To read at most; all if None.
    """

    resize: Callable[[int, int], tuple[int, int]] | None = None
    strict: bool = False
    deinterlace: bool = False
    deep: bool = False
    start: float = 0.0
    frames: int | None = None


class VideoReader:
    """Iterates once over a video's frames: uint8 RGB, (H, W, 3), contiguous; `shots` gives their times too.

    Args:
        source: A path of a video or of a folder of pictures, an address, "-" for y4m on stdin, or a binary file object of any format.
        resize: The (height, width) to give frames of this height and width at; as they are if None.
        reading: How to read it; by default as it is.

    Attributes:
        info: What the video says about itself.
        audio: Its audio streams, templates for copies.
        truncated: Set when the file's end turned out to be missing; known once the iteration ended.
        damage: What was wrong with it so far.
        live: It goes on whether it is read or not: frames are the newest ones, and those that came in between are dropped.
        remarks: What the user should know of how it is read, one line each.

    Raises:
        VideoError: The source is missing, empty, not a video, has sound only, is interlaced, or has no picture that decodes.
    """

    def __init__(
        self,
        source: Source,
        resize: Callable[[int, int], tuple[int, int]] | None = None,
        reading: Reading | None = None,
    ) -> None:
        self._asked = reading or Reading(resize)
        self._name, self._container = open_source(source)
        self.live = is_live(source, self._container)
        self._newest: Newest[tuple[VideoFrame, Fraction]] | None = None
        try:
            self._stream = video_stream(self._container, self._name)
            self.remarks: tuple[str, ...] = _which(self._container, self._stream, self._name)
            self.audio: tuple[Any, ...] = tuple(s for s in self._container.streams if s.type == "audio")
            self._stream.thread_type = (
                "SLICE"  # frame threads swallow errors, how many depends on the machine
            )
            self._index = AviIndex(self._container)
            self._audio_packets: deque[Packet[Stream]] = deque()
            self._count = 0
            self._end = 0.0
            self._heard: dict[int, float] = {}
            self.truncated = False
            self.damage = Damage()
            self._resized = False
            self._fields: Deinterlacer | None = None
            self._origin = Fraction(max(0, self._container.start_time or 0), av.time_base)
            self._clock = Clock(
                _frame_rate(self._stream), Fraction(self._stream.time_base or Fraction(1, 1000))
            )
            self._begin()
            # The size counts that the first picture has: headers may already speak of a later part.
            rest = self._timed()
            first = next(rest, None)
            if first is None:
                raise VideoError(f"{self._name}: {self._nothing()}")
            self._left: Iterator[tuple[VideoFrame, Fraction]] = chain((first,), rest)
            picture, start = first
            self._stored = picture.height, picture.width
            self._orientation = orientation_of(picture)
            shown = self._orientation.size(*self._stored)
            size = self._asked.resize(*shown) if self._asked.resize else shown
            self.info = _describe(self._container, self._stream, picture, shown, size, self._name, start)
            self.remarks += _lost(picture, self._name)
        except BaseException:
            self.close()
            raise
        self._rgb = Rgb(self.info.colour)

    def __iter__(self) -> Iterator[Frame]:
        """Decode frame by frame.

        Raises:
            VideoError: The video is damaged and reading is strict.
        """
        return (shot.pixels for shot in self.shots())

    @property
    def usual(self) -> Fraction:
        """Seconds from one picture to the next, mostly, as far as it is known."""
        return self._clock.usual

    def shots(self) -> Iterator[Shot]:
        """Decode frame by frame, with times.

        Raises:
            VideoError: The video is damaged and reading is strict.
        """
        most = self._asked.frames
        if most == 0:
            return
        pictures: Iterable[tuple[VideoFrame, Fraction]] = self._left
        if self.live:
            pictures = self._newest = Newest(self._left)
        for picture, time in pictures:
            self._count += 1
            yield self._shot(picture, time)
            if most is not None and self._count >= most:
                self._note_gaps()
                return
        self._note_gaps()
        self.truncated = self.truncated or self._ended_early()

    def skip(self, count: int) -> None:
        """Pass over the next frames: they are decoded, and not given."""
        for _ in islice(self._left, count):
            self._count += 1
            self._audio_packets.clear()

    @property
    def dropped(self) -> int:
        """Frames of a live source that were left out so far: newer ones came before they were asked for."""
        return self._newest.dropped if self._newest else 0

    def take_audio(self) -> list[Packet[Stream]]:
        """The audio packets met since the last call, still compressed."""
        return [self._audio_packets.popleft() for _ in range(len(self._audio_packets))]

    def close(self) -> None:
        """Let go of the file; of a live source only if its thread is not stuck in a read, which ends with the process."""
        if self._newest is None or self._newest.leave(_PATIENCE_SECONDS):
            self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Go to the place to begin at: to the key picture before it; what lies between is decoded and dropped."""
        self._origin += Fraction(self._asked.start).limit_denominator(90_000)
        if self._asked.start and self._stream.time_base:
            with suppress(
                av.FFmpegError
            ):  # a pipe, or a form without an index: it is read from the beginning
                self._container.seek(int(self._origin / self._stream.time_base), stream=self._stream)

    def _nothing(self) -> str:
        """Why there is no first picture."""
        if self._asked.start and self._end:
            lasts = max(self._end - float(self._origin) + self._asked.start, 0.0)
            return f"ends at {lasts:.2f} s, before --start {self._asked.start:g}; choose an earlier one"
        return "no picture could be decoded; check that the file plays"

    def _shot(self, picture: VideoFrame, time: Fraction) -> Shot:
        if (picture.height, picture.width) != self._stored:
            height, width = self._stored
            said = f"frame {self._count - 1} is {picture.width}x{picture.height}, the video {width}x{height}"
            if self._asked.strict:
                raise VideoError(f"{self._name}: {said}; split it where the size changes")
            if not self._resized:
                self.remarks += (f"{self._name}: {said}: it is resized from there on",)
                self._resized = True
        turned = self._orientation
        height, width = turned.size(self.info.height, self.info.width)
        pixels = self._rgb.from_picture(picture, (height, width))
        deep = self._rgb.from_picture_deep(picture, (height, width)) if self._deep else None
        if not turned.stands:
            pixels = turned.apply(pixels)  # type: ignore[assignment]
            deep = None if deep is None else turned.apply(deep)  # type: ignore[assignment]
        return Shot(pixels, time, deep)

    def _note_gaps(self) -> None:
        for before, length in self._clock.gaps():
            self.damage.note("gap", float(before), float(length))

    @property
    def _deep(self) -> bool:
        return self._asked.deep and self.info.bits > 8

    def _timed(self) -> Iterator[tuple[VideoFrame, Fraction]]:
        """Pictures to be shown and their times in seconds; gaps are noted."""
        before: Fraction | None = None
        for picture in self._progressive():
            stamp = picture.pts if picture.pts is not None else picture.dts
            time = None
            tick = picture.time_base or self._stream.time_base  # the last pictures do not say theirs
            if stamp is not None and tick:
                time = stamp * Fraction(tick) - self._origin
                if time < 0 and self._asked.start:
                    continue
            time = self._clock.at(
                None if time is None else max(time, Fraction(0)) if before is None else time
            )
            if picture.is_corrupt:
                self._broken(float(time), None)
            before = time
            yield picture, time

    def _progressive(self) -> Iterator[VideoFrame]:
        for picture in self._pictures():
            if not picture.interlaced_frame:
                yield picture
                continue
            if not self._asked.deinterlace:
                if self._count == 0:
                    raise VideoError(
                        f"{self._name}: is interlaced: two fields, half a frame's time apart, in each picture; add --deinterlace, "
                        "or deinterlace it before (FFmpeg: -vf bwdif)"
                    )
                if not any("interlaced" in remark for remark in self.remarks):
                    self.remarks += (
                        f"{self._name}: frame {self._count} and others are interlaced and taken as they are; --deinterlace mends that",
                    )
                yield picture
                continue
            self._fields = self._fields or Deinterlacer()
            yield from self._fields.push(picture)
        if self._fields:
            yield from self._fields.rest()

    def _pictures(self) -> Iterator[VideoFrame]:
        broken = False
        for packet in self._packets():
            if broken:
                self._broken(self._time_of(packet), packet)
                broken = False
            try:
                pictures = self._stream.decode(packet)
            except av.FFmpegError:
                broken = True  # the end of a cut file, unless more data follows
                continue
            yield from pictures
        self.truncated = self.truncated or broken
        try:
            pictures = self._stream.decode(None)
        except av.FFmpegError:
            self.truncated, pictures = True, []
        yield from pictures

    def _broken(self, seconds: float, packet: Packet[Stream] | None) -> None:
        """Something cannot be decoded."""
        if self._asked.strict:
            raise VideoError(
                f"{self._name}: damaged at frame {self._count} ({seconds:.2f} s); repair it, e.g. by re-encoding it, or leave --strict out"
            )
        self.damage.note("damaged", seconds)

    def _time_of(self, packet: Packet[Stream]) -> float:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.time_base is None:
            return float(self._clock.last or 0)
        return float(stamp * packet.time_base - self._origin)

    def _packets(self) -> Iterator[Packet[Stream]]:
        """The video's whole packets; audio packets are set aside on the way."""
        corrupt: float | None = None
        faults = 0
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                if isinstance(error, (av.EOFError, av.ExitError)) or faults > 100:
                    self.truncated = True
                    return
                faults += 1
                if not isinstance(error, av.InvalidDataError):
                    self.truncated = True
                    return
                self._broken(self._end - float(self._origin), None)
                packets = self._container.demux()
                continue
            except UnicodeDecodeError:
                continue
            if packet is None:
                break
            if packet.dts is None and packet.size == 0:
                continue  # PyAV's end mark, one for each stream
            self._index.mend(packet)
            if corrupt is not None:
                self._broken(corrupt, packet)  # there is more behind it
                corrupt = None
            if packet.is_corrupt:
                corrupt = self._time_of(packet)  # in the middle, or at the file's end inside this packet
                continue
            self._note_end(packet)
            if packet.stream is self._stream:
                yield packet
            elif packet.stream.type == "audio":
                self._note_sound(packet)
                self._audio_packets.append(packet)
        self.truncated = self.truncated or corrupt is not None

    def _note_sound(self, packet: Packet[Stream]) -> None:
        """Note where sound is missing: its packets follow each other, unless some were lost."""
        if packet.pts is None or packet.time_base is None:
            return
        at = float(packet.pts * packet.time_base)
        before = self._heard.get(packet.stream.index)
        if before is not None and at - before > _LEAST_SILENCE:
            self.damage.note("silence", before - float(self._origin), at - before)
        self._heard[packet.stream.index] = at + float((packet.duration or 0) * packet.time_base)

    def _note_end(self, packet: Packet[Stream]) -> None:
        if packet.pts is not None and packet.time_base is not None:
            self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _ended_early(self) -> bool:
        """Whether the data ends before what headers promise: of the picture, of each sound, or of all together."""
        seen = self._clock.last
        promised = _promised(self._stream)
        if seen is not None and promised is not None:
            first = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
            ends = float(seen + self._origin + self._clock.usual)
            if ends < first + promised - 0.75 * float(self._clock.usual):
                return True
        for stream in self.audio:
            promised = _promised(stream)
            if promised is not None and self._heard.get(stream.index, 0.0) < promised - _LEAST_SILENCE:
                return True
        if self._container.duration is None or not self._end:
            return False
        start = max(0, self._container.start_time or 0)
        promised = (start + self._container.duration) / av.time_base
        return self._end < promised - _SLACK_SECONDS


def _promised(stream: Stream) -> float | None:
    """Seconds of a stream, as its container has them: in its header, or, in Matroska, in a tag."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The video stream to read: the default one, else the largest; never the picture on a song.

    Raises:
        VideoError: there is none that can be decoded.
    """
    streams = [stream for stream in container.streams.video if not _marked(stream, _COVER)]
    readable = [s for s in streams if s.codec_context is not None and s.codec_context.width]
    if readable:
        defaults = [s for s in readable if _marked(s, _DEFAULT)]
        return max(
            defaults if len(defaults) == 1 else readable,
            key=lambda s: (s.codec_context.width * s.codec_context.height, -s.index),
        )
    if streams:
        holds = "a video stream that cannot be decoded"
    else:
        holds = "sound only" if container.streams.audio else "no video"
    raise VideoError(f"{name}: holds {holds}; give a file with a video stream")


def _which(container: InputContainer, stream: VideoStream, name: str) -> tuple[str, ...]:
    """Which of several video streams is read, in words; nothing where there is one."""
    others = [s for s in container.streams.video if s is not stream and not _marked(s, _COVER)]
    if not others:
        return ()
    context = stream.codec_context
    return (
        f"{name}: holds {len(others) + 1} video streams; number {stream.index}, {context.width}x{context.height}, is read, "
        "the others are left out",
    )


def _marked(stream: VideoStream, mark: int) -> bool:
    return bool(stream.disposition.value & mark)


_SIDE = {
    "STEREO3D": "its 3D packing",
    "SPHERICAL": "that it is spherical",
    "DOVI_METADATA": "its Dolby Vision data",
    "A53_CC": "its closed captions",
}
"""What pictures may carry beside them that no copy keeps here, by FFmpeg's name."""


def _lost(picture: VideoFrame, name: str) -> tuple[str, ...]:
    """What of a picture cannot be kept, one line each."""
    found = [_SIDE[kind] for data in side_data(picture) if (kind := getattr(data.type, "name", "")) in _SIDE]
    remarks = [f"{name}: {', '.join(found)} cannot be kept"] if found else []
    if _see_through(picture):
        remarks.append(f"{name}: its transparency is left out: pictures are made without it")
    return tuple(remarks)


def _see_through(picture: VideoFrame) -> bool:
    """Whether a picture is transparent somewhere."""
    if not any(component.is_alpha for component in picture.format.components):
        return False
    return bool(picture.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)


_WATCHED = frozenset({"h264", "hevc", "vp9", "vp8", "av1", "mpeg4", "mpeg2video"})


def _describe(
    container: InputContainer,
    stream: VideoStream,
    picture: VideoFrame,
    shown: tuple[int, int],
    size: tuple[int, int],
    name: str,
    start: Fraction,
) -> VideoInfo:
    context = stream.codec_context
    aspect = context.sample_aspect_ratio
    if aspect and shown != (picture.height, picture.width):
        aspect = 1 / Fraction(aspect)
    if size != shown:  # so that players show the shape that the source had
        aspect = (aspect or Fraction(1)) * Fraction(shown[1] * size[0], shown[0] * size[1])
    seconds = container.duration / av.time_base if container.duration else None
    rate = stream.codec_context.bit_rate or None
    if rate is None and seconds and len(container.streams.video) == 1 and container.size > 0:
        rate = int(8 * container.size / seconds)
    return VideoInfo(
        name=name,
        width=size[1],
        height=size[0],
        fps=_frame_rate(stream),
        frames=stream.frames or None,
        colour=Colour.of(context),
        pixel_aspect=aspect,
        # A negative start is the encoder delay of the sound, which containers handle themselves.
        origin=Fraction(max(0, container.start_time or 0), av.time_base),
        start=start,
        audio=tuple(codec_name(track) for track in container.streams if track.type == "audio"),
        bits=max((component.bits for component in picture.format.components), default=8),
        seconds=seconds,
        bit_rate=rate if context.name in _WATCHED else None,
        mastering=mastering_of(picture),
        index=stream.index,
    )


def codec_name(track: Stream) -> str:
    """What a stream is encoded in, by FFmpeg's name; `unknown` where it has no decoder."""
    context = track.codec_context
    return str(context.codec.canonical_name) if context is not None else "unknown"


def _frame_rate(stream: VideoStream) -> Fraction:
    rates = [stream.average_rate, stream.guessed_rate]
    if stream.start_time is None:
        rates.reverse()  # without timestamps the average is a default, the guess comes from the headers
    found = next((Fraction(rate) for rate in rates if rate is not None and rate > 0), Fraction(25))
    return found if found.numerator < 1_000_000 else found.limit_denominator(1001)
