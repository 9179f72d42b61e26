"""Which streams of a container are read, and what they say of themselves."""

from __future__ import annotations

import re
from fractions import Fraction

from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from edgeflow.ir.errors import VideoError

_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_DEFAULT = 0x1  # AV_DISPOSITION_DEFAULT


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


def others_left_out(container: InputContainer, stream: VideoStream, name: str) -> tuple[str, ...]:
    """Which of several video streams is read, in words; nothing where there is one."""
    others = [s for s in container.streams.video if s is not stream and not _marked(s, _COVER)]
    if not others:
        return ()
    context = stream.codec_context
    return (
        f"{name}: holds {len(others) + 1} video streams; number {stream.index}, {context.width}x{context.height}, is read, "
        "the others are left out",
    )


def codec_name(track: Stream) -> str:
    """What a stream is encoded in, by FFmpeg's name; `unknown` where it has no decoder."""
    context = track.codec_context
    return str(context.codec.canonical_name) if context is not None else "unknown"


def frame_rate(stream: VideoStream) -> Fraction:
    """Pictures a second, as the container has them; 25 where it says nothing."""
    rates = [stream.average_rate, stream.guessed_rate]
    if stream.start_time is None:
        rates.reverse()  # without timestamps the average is a default, the guess comes from the headers
    found = next((Fraction(rate) for rate in rates if rate is not None and rate > 0), Fraction(25))
    return found if found.numerator < 1_000_000 else found.limit_denominator(1001)


def promised_seconds(stream: Stream) -> float | None:
    """Seconds of a stream, as its container has them: in its header, or, in Matroska, in a tag."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def _marked(stream: VideoStream, mark: int) -> bool:
    return bool(stream.disposition.value & mark)
