"""Reads a film as RGB frames with their times.

What is wrong with a film is said, and its time kept: packets that cannot be decoded are counted, the last good picture stands until
the next one, and what follows keeps its place beside the sound (`VideoReader.damage`). With `strict` damage raises instead, naming
the frame. A file whose end is missing (a download or a recording that stopped) gives the frames it holds and sets `truncated`. Formats
that promise no length (raw .264, y4m) show it where the last picture is cut.

Pictures are turned and mirrored as the header asks, so that what is cut into tiles is what people see.
"""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.colour import Frame, Rgb
from edgeflow.runtime.video.reading.clock import Clock
from edgeflow.runtime.video.reading.damage import Damage
from edgeflow.runtime.video.reading.decoder import decoder_of
from edgeflow.runtime.video.reading.fields import Deinterlacer
from edgeflow.runtime.video.reading.info import describe, lost_with
from edgeflow.runtime.video.reading.live import Newest
from edgeflow.runtime.video.reading.orientation import orientation_of
from edgeflow.runtime.video.reading.packets import Packets
from edgeflow.runtime.video.reading.source import Source, is_live, open_source
from edgeflow.runtime.video.reading.streams import frame_rate, others_left_out, video_stream

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
            self.remarks: tuple[str, ...] = others_left_out(self._container, self._stream, self._name)
            self.audio: tuple[Any, ...] = tuple(s for s in self._container.streams if s.type == "audio")
            self._decoder = decoder_of(self._stream)
            self._count = 0
            self.damage = Damage()
            self._cut = self._resized = False
            self._fields: Deinterlacer | None = None
            self._origin = Fraction(max(0, self._container.start_time or 0), av.time_base)
            self._clock = Clock(
                frame_rate(self._stream), Fraction(self._stream.time_base or Fraction(1, 1000))
            )
            self._begin()
            self._packets = Packets(
                self._container,
                self._stream,
                self._origin,
                self._clock,
                on_damage=self._broken,
                on_silence=partial(self.damage.note, "silence"),
            )
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
            self.info = describe(self._container, self._stream, picture, shown, size, self._name, start)
            self.remarks += lost_with(picture, self._name)
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
        self._cut = self._cut or self._packets.ended_early()

    @property
    def truncated(self) -> bool:
        """Whether the file's end turned out to be missing; known once the iteration ended."""
        return self._cut or self._packets.truncated

    def skip(self, count: int) -> None:
        """Pass over the next frames: they are decoded, and not given."""
        for _ in islice(self._left, count):
            self._count += 1
            self._packets.take_audio()

    @property
    def dropped(self) -> int:
        """Frames of a live source that were left out so far: newer ones came before they were asked for."""
        return self._newest.dropped if self._newest else 0

    def take_audio(self) -> list[Packet[Stream]]:
        """The audio packets met since the last call, still compressed."""
        return self._packets.take_audio()

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
        if self._asked.start and self._packets.end:
            lasts = max(self._packets.end - float(self._origin) + self._asked.start, 0.0)
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
                self._broken(float(time))
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
        for packet in self._packets:
            if broken:
                self._broken(self._packets.time_of(packet))
                broken = False
            try:
                pictures = self._decoder.decode(packet)
            except av.FFmpegError:
                broken = True  # the end of a cut file, unless more data follows
                continue
            yield from pictures
        self._cut = self._cut or broken
        try:
            pictures = self._decoder.decode(None)
        except av.FFmpegError:
            self._cut, pictures = True, []
        yield from pictures

    def _broken(self, seconds: float) -> None:
        """Something cannot be decoded."""
        if self._asked.strict:
            raise VideoError(
                f"{self._name}: damaged at frame {self._count} ({seconds:.2f} s); repair it, e.g. by re-encoding it, or leave --strict out"
            )
        self.damage.note("damaged", seconds)
