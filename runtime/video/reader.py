"""Reads a video file, a stream or a pipe as RGB frames.

Where a file breaks off. A file whose end is missing (a download or a recording that stopped) gives
the frames it holds and sets `VideoReader.truncated`, so that the caller can say so: those frames are
good, and refusing them would help nobody. Damage with more data behind it raises instead, naming the
frame: going on would skip time and let sound and picture drift apart. Formats that promise no length
(raw .264, y4m) cannot tell a cut end from a short film, so the flag stays False for them unless the
last picture is visibly broken.
"""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.colour import Colour, Frame, Rgb

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes of the pictures that a folder may hold."""

_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC

# How far the data may end before the length the container promises and still count as whole:
# sound and picture seldom end together, and headers round.
_SLACK_SECONDS = 0.5


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself.

    Attributes:
        name: What messages call it: the path, or "stdin".
        width: Width in pixels of the frames given; a rotation asked of the player is not applied.
        height: Height in pixels of the frames given.
        fps: Frames per second.
        frames: Number of frames where the container states it.
        colour: Range and matrix.
        pixel_aspect: Width of a pixel over its height; None is square or unstated.
        origin: The container's first timestamp in seconds, where a copy begins anew.
        start: Seconds from there to the first picture.
        audio: Codec name of each audio stream.
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


class VideoReader:
    """Iterates once over a video's frames: uint8 RGB, (H, W, 3), contiguous.

    Args:
        source: A path of a video or of a folder of pictures, "-" for y4m on stdin, or a binary file object of any format.
        resize: The (height, width) to give frames of this height and width at; as they are if None.

    Attributes:
        info: What the video says about itself.
        audio: Its audio streams, templates for copies.
        truncated: Set when the file's end turned out to be missing; known once the iteration ended.

    Raises:
        VideoError: The source is missing, empty, not a video, has sound only, or no picture that decodes.
    """

    def __init__(
        self, source: str | Path | BinaryIO, resize: Callable[[int, int], tuple[int, int]] | None = None
    ) -> None:
        self._name, self._container = _open(source)
        try:
            self._stream = _video_stream(self._container, self._name)
            self.audio: tuple[AudioStream, ...] = tuple(self._container.streams.audio)
            self._stream.thread_type = "AUTO"
            self._audio_packets: list[Packet[Stream]] = []
            self._count = 0
            self._end = 0.0
            self.truncated = False
            # The size counts that the first picture has: headers may already speak of a later part.
            self._rest = self._pictures()
            self._first = self._first_picture()
            self._stored = self._first.height, self._first.width
            size = resize(*self._stored) if resize else self._stored
            self.info = _describe(self._container, self._stream, self._stored, size, self._name)
        except BaseException:
            self.close()
            raise
        self._rgb = Rgb(self.info.colour)

    def __iter__(self) -> Iterator[Frame]:
        """Decode frame by frame.

        Raises:
            VideoError: The video is damaged midway or changes its size.
        """
        height, width = self._stored
        for picture in chain((self._first,), self._rest):
            if (picture.height, picture.width) != self._stored:
                raise VideoError(
                    f"{self._name}: frame {self._count} is {picture.width}x{picture.height}, the video "
                    f"{width}x{height}; split it where the size changes"
                )
            self._count += 1
            yield self._rgb.from_picture(picture, (self.info.height, self.info.width))
        self.truncated = self.truncated or self._ended_early()

    def take_audio(self) -> list[Packet[Stream]]:
        """The audio packets met since the last call, still compressed."""
        packets, self._audio_packets = self._audio_packets, []
        return packets

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first_picture(self) -> VideoFrame:
        picture = next(self._rest, None)
        if picture is None:
            raise VideoError(f"{self._name}: no picture could be decoded; check that the file plays")
        return picture

    def _pictures(self) -> Iterator[VideoFrame]:
        damage: av.FFmpegError | None = None
        for packet in self._packets():
            if damage is not None:
                raise VideoError(
                    f"{self._name}: damaged at frame {self._count}; repair it, e.g. by re-encoding it"
                ) from damage
            try:
                pictures = self._stream.decode(packet)
            except av.FFmpegError as error:
                damage = error  # the end of a cut file, unless more data follows
                continue
            yield from pictures
        try:
            pictures = self._stream.decode(None)
        except av.FFmpegError as error:
            damage, pictures = error, []
        yield from pictures
        self.truncated = self.truncated or damage is not None

    def _packets(self) -> Iterator[Packet[Stream]]:
        """The video's whole packets; audio packets are set aside on the way."""
        try:
            for packet in self._container.demux():
                if packet.dts is None and packet.size == 0:
                    continue  # PyAV's end mark, one for each stream
                if packet.is_corrupt:
                    self.truncated = True  # the demuxer met the file's end inside this packet
                    continue
                self._note_end(packet)
                if packet.stream is self._stream:
                    yield packet
                elif isinstance(packet.stream, AudioStream):
                    self._audio_packets.append(packet)
        except av.FFmpegError:
            self.truncated = True

    def _note_end(self, packet: Packet[Stream]) -> None:
        if packet.pts is not None:
            self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _ended_early(self) -> bool:
        if self._container.duration is None or not self._end:
            return False
        start = max(0, self._container.start_time or 0)
        promised = (start + self._container.duration) / av.time_base
        return self._end < promised - _SLACK_SECONDS


def _open(source: str | Path | BinaryIO) -> tuple[str, InputContainer]:
    if str(source) == "-":
        # Unbuffered: a reader thread stuck in a buffered read would hold a lock Python wants at exit.
        stdin = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        return "stdin", _demuxer(stdin, "stdin", "yuv4mpegpipe")
    if not isinstance(source, (str, Path)):
        name = str(getattr(source, "name", "the stream"))
        return name, _demuxer(source, name, None)
    path = Path(source)
    if not path.exists():
        raise VideoError(f"{path}: no such file; check the path")
    if path.is_dir():
        return str(path), _pictures_of(path)
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(f"{path}: is empty; copy or record it again")
    # "file:" keeps FFmpeg from taking a name with a colon for a network address.
    return str(path), _demuxer(f"file:{path}", str(path), None)


def _pictures_of(folder: Path) -> InputContainer:
    """The pictures of a folder in the order of their names, 25 a second.

    Raises:
        VideoError: it holds none, or pictures of several kinds.
    """
    kinds = sorted({path.suffix for path in folder.iterdir() if path.suffix.lower() in PICTURES})
    if len(kinds) != 1:
        held = f"pictures of several kinds ({', '.join(kinds)})" if kinds else "no pictures"
        raise VideoError(
            f"{folder}: holds {held}; give a folder of {', '.join(sorted(PICTURES))} of one kind"
        )
    place = "".join(f"\\{sign}" if sign in "*?[]{}\\" else sign for sign in str(folder.resolve()))
    options = {"pattern_type": "glob", "framerate": "25"}
    try:
        return av.open(f"{place}/*{kinds[0]}", "r", format="image2", options=options)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{folder}: cannot be read as pictures ({error.strerror or error}); check that they open"
        ) from error


def _demuxer(file: str | BinaryIO, name: str, container: str | None) -> InputContainer:
    try:
        return av.open(file, "r", format=container)
    except (av.FFmpegError, OSError) as error:
        wanted = "y4m" if container else "a video, or its index is cut off"
        reason = error.strerror or type(error).__name__
        raise VideoError(f"{name}: cannot be read as {wanted} ({reason}); check that it plays") from error


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if streams and streams[0].codec_context is not None and streams[0].codec_context.width:
        return streams[0]
    if streams:
        holds = "a video stream that cannot be decoded"
    else:
        holds = "sound only" if container.streams.audio else "no video"
    raise VideoError(f"{name}: holds {holds}; give a file with a video stream")


def _is_cover(stream: VideoStream) -> bool:
    """Whether this is the picture on a song, a video stream to FFmpeg; the first PyAV 14 cannot tell."""
    disposition = getattr(stream, "disposition", None)
    return disposition is not None and bool(disposition.value & _COVER)


def _describe(
    container: InputContainer, stream: VideoStream, stored: tuple[int, int], size: tuple[int, int], name: str
) -> VideoInfo:
    context = stream.codec_context
    # A negative start is the encoder delay of the sound, which containers handle themselves.
    origin = Fraction(max(0, container.start_time or 0), av.time_base)
    start = Fraction(0)
    if stream.start_time is not None and stream.time_base is not None:
        start = max(start, stream.start_time * stream.time_base - origin)
    aspect = context.sample_aspect_ratio
    if size != stored:  # so that players show the shape that the source had
        aspect = (aspect or Fraction(1)) * Fraction(stored[1] * size[0], stored[0] * size[1])
    return VideoInfo(
        name=name,
        width=size[1],
        height=size[0],
        fps=_frame_rate(stream),
        frames=stream.frames or None,
        colour=Colour.of(context),
        pixel_aspect=aspect,
        origin=origin,
        start=start,
        audio=tuple(_codec_name(track) for track in container.streams.audio),
    )


def _codec_name(track: AudioStream) -> str:
    # PyAV 14 knows decoders only by their own name, which for MP3 is "mp3float".
    codec = track.codec_context.codec
    return str(getattr(codec, "canonical_name", codec.name.removesuffix("float")))


def _frame_rate(stream: VideoStream) -> Fraction:
    rates = [stream.average_rate, stream.guessed_rate]
    if stream.start_time is None:
        rates.reverse()  # without timestamps the average is a default, the guess comes from the headers
    return next((rate for rate in rates if rate is not None and rate > 0), Fraction(25))
