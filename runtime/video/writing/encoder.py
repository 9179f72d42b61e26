"""How pictures are encoded: which codec, at which quality and depth, for which container."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, cast

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.colour import Colour, Rgb, assumed_matrix
from edgeflow.runtime.video.reading.info import VideoInfo

_FINEST = 90_000
"""Parts of a second, at least, that times are kept in."""

_DEFAULTS = {"webm": "libvpx-vp9", "gif": "gif", "webp": "libwebp_anim", "yuv4mpegpipe": "rawvideo"}
"""What containers are written with; the others with x264, or x265 where there are more than 8 bits."""

_QUALITY = {"libx264": "16", "libx265": "20", "libvpx-vp9": "32", "libsvtav1": "32"}
"""Constant rate factors that look like their source."""

_LEFT = frozenset({"h264", "hevc", "mpeg4", "mpeg2video"})
"""Codecs whose 4:2:0 chroma lies on the left unless they say otherwise; where others' lies is not said, and taken as the middle."""

EVEN = frozenset({"avi", "yuv4mpegpipe"})
"""Containers that store no times: their pictures come evenly."""


@dataclass(frozen=True)
class Encoding:
    """What the user asks of the encoder.

    Attributes:
        codec: An encoder of FFmpeg's, by its name; the container's own choice if None.
        crf: Constant rate factor, as that encoder counts; a good one if None and no bit rate is given.
        bit_rate: In bits a second.
        bits: 8, or None for those of the source.
    """

    codec: str | None = None
    crf: float | None = None
    bit_rate: int | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Codec:
    """What a film is encoded with.

    Attributes:
        name: of FFmpeg's encoder.
        layout: of its pictures, by FFmpeg's name.
        options: of the encoder.
        bit_rate: in bits a second, if that is asked for.
        remarks: what the user should know, one line each.
    """

    name: str
    layout: str
    options: tuple[tuple[str, str], ...]
    bit_rate: int | None
    remarks: tuple[str, ...]


def choose(
    asked: Encoding, container: str, size: tuple[int, int], like: VideoInfo | None, times: Fraction
) -> Codec:
    """The codec of a film.

    Args:
        asked: by the user.
        container: by FFmpeg's name.
        size: (width, height) of its pictures.
        like: the film that it is made of.
        times: the new film's frame rate over that one's.

    Raises:
        InputError: no such encoder, or the container cannot hold what it makes.
    """
    bits = min(asked.bits or (like.bits if like else 8), 12)
    name = asked.codec or _DEFAULTS.get(container, "libx265" if bits > 8 else "libx264")
    try:
        codec = av.codec.Codec(name, "w")
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"--codec {name}: FFmpeg has no encoder of that name here: try libx264, libx265 or libvpx-vp9"
        ) from error
    if codec.type != "video":
        raise InputError(f"--codec {name} encodes no pictures: try libx264, libx265 or libvpx-vp9")
    known = {own.name for own in codec.video_formats or ()}
    layout, held = _layout(known, size, bits)
    remarks: tuple[str, ...] = ()
    if like and held < min(like.bits, 12) and not asked.bits:
        remarks = (
            f"{like.name}: has {like.bits} bits a channel, {name} here holds {held}: --codec libx265 or ffv1 keeps more",
        )
    if like and like.mastering and (name != "libx265" or held == 8):
        remarks += (
            f"{like.name}: the display it was mastered on is left out: libx265 at 10 bits and more keeps it",
        )
    return Codec(
        name,
        layout,
        tuple(_options(name, container, asked, like, times, held).items()),
        asked.bit_rate,
        remarks,
    )


def _layout(known: set[str], size: tuple[int, int], bits: int) -> tuple[str, int]:
    """The pixel format, and its bits. 4:2:0 is what players show; it cannot hold odd sides, so these are stored as 4:4:4."""
    odd = size[0] % 2 or size[1] % 2
    for depth in (12, 10, 8):
        if depth > max(bits, 8):
            continue
        end = "" if depth == 8 else f"{depth}le"
        for sampling in ("444p", "420p", "422p") if odd else ("420p", "422p", "444p"):
            if f"yuv{sampling}{end}" in known or not known:
                return f"yuv{sampling}{end}", depth
    for plain in ("rgb8", "bgra", "bgr0", "rgb24", "yuvj420p"):
        if plain in known:
            return plain, 8
    return next(iter(sorted(known)), "yuv420p"), 8


def _options(
    name: str, container: str, asked: Encoding, like: VideoInfo | None, times: Fraction, bits: int
) -> dict[str, str]:
    options: dict[str, str] = {}
    if asked.crf is not None:
        options["crf"] = f"{asked.crf:g}"
    elif asked.bit_rate is None and name in _QUALITY:
        options["crf"] = _QUALITY[name]
        if like and like.bit_rate and name in ("libx264", "libx265"):  # never many times the source's
            most = int(like.bit_rate * (1 + 0.25 * max(float(times) - 1, 0)) * 1.5)
            options |= {"maxrate": str(most), "bufsize": str(2 * most)}
    if name in ("libx264", "libx265"):
        options["preset"] = "veryfast"
    if name == "libx265":
        mastering = like.mastering.for_x265() if like and like.mastering and bits > 8 else ""
        options["x265-params"] = f"log-level=error{mastering}"
    if name == "libvpx-vp9":
        options |= {
            "deadline": "realtime",
            "cpu-used": "5",
            "row-mt": "1",
            "b": "0" if asked.bit_rate is None else str(asked.bit_rate),
        }
    if (
        container == "avi"
    ):  # which stores no presentation times, so its pictures come in the order they are shown
        options["bf"] = "0"
    if name == "libwebp_anim":
        options |= {"loop": "0", "quality": "85"}
    return options


def time_base(fps: Fraction, container: str) -> Fraction:
    """What times are counted in: even ones exactly, others to a ninety-thousandth of a second."""
    if container in EVEN:
        return 1 / fps
    if container == "gif":
        return Fraction(1, 100)
    if container == "webp":
        return Fraction(1, 1000)
    return Fraction(1, fps.numerator * ceil(_FINEST / fps.numerator))


class Encoder:
    """Encodes pictures into one stream of a container.

    Args:
        container: that gets the stream.
        codec: to encode with.
        size: (width, height).
        fps: frames a second, if they come evenly.
        colour: of the film.
        pixel_aspect: width of a pixel over its height.
        tick: what times are counted in, seconds; what suits the container if None.
    """

    def __init__(
        self,
        container: OutputContainer,
        codec: Codec,
        size: tuple[int, int],
        fps: Fraction,
        colour: Colour,
        pixel_aspect: Fraction | None,
        tick: Fraction | None = None,
    ) -> None:
        kind = container.format.name
        if codec.name == "rawvideo":
            # y4m states no matrix, so the one its readers assume must be used.
            colour = Colour(colour.full, assumed_matrix(size[1]), 2, 2, 2)
        self.stream = cast(
            VideoStream, container.add_stream(codec.name, rate=fps, options=dict(codec.options))
        )
        context = self.stream.codec_context
        context.width, context.height = size
        context.pix_fmt = codec.layout
        context.time_base = self._tick = tick or time_base(fps, kind)
        if codec.bit_rate:
            context.bit_rate = codec.bit_rate
        tag_colour(self.stream, colour)
        if pixel_aspect:
            context.sample_aspect_ratio = pixel_aspect
        if codec.name == "libx265" and kind in ("mp4", "mov"):
            context.codec_tag = "hvc1"
        self._layout, self._rgb = codec.layout, Rgb(colour)
        self._left = "420" in codec.layout and context.codec.canonical_name in _LEFT
        self._last: int | None = None
        self._count = 0

    def encode(self, frame: NDArray[Any], time: Fraction) -> list[Packet[VideoStream]]:
        """A frame, (h, w, 3) uint8 or uint16, that is shown at a time in seconds; times that are too close are moved apart."""
        picture = self._picture(frame)
        place = round(time / self._tick)
        if self._last is not None:
            place = max(place, self._last + 1)
        self._last = place
        self._count += 1
        picture.pts, picture.time_base = place, self._tick
        return self.stream.encode(picture)

    def flush(self) -> list[Packet[VideoStream]]:
        """What is left in the encoder."""
        packets = self.stream.encode(None)
        for packet in packets if self._count < 3 else ():
            packet.dts = packet.pts  # of so few x265 leaves the times of decoding to chance
        return packets

    def _picture(self, frame: NDArray[Any]) -> VideoFrame:
        if self._layout.startswith("yuv"):
            return self._rgb.to_picture(frame, self._layout, self._left)
        eight = frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8)
        return VideoFrame.from_ndarray(np.ascontiguousarray(eight), format="rgb24").reformat(
            format=self._layout
        )


def tag_colour(stream: VideoStream, colour: Colour) -> None:
    """Let a film's stream say what its colours are; those of RGB say it by their format."""
    context = stream.codec_context
    if (context.pix_fmt or "").startswith("yuv"):
        context.color_range = 2 if colour.full else 1
        context.colorspace, context.color_primaries = colour.space, colour.primaries
        context.color_trc = colour.transfer


def check_room(
    seconds: float | None, codec: Codec, size: tuple[int, int], fps: Fraction, free: int, where: str
) -> None:
    """Refuse to begin a film for which the disk is clearly too full.

    Raises:
        VideoError: says what is needed and what is free.
    """
    rate = codec.bit_rate or int(0.03 * size[0] * size[1] * float(fps))
    needed = 2 * int((seconds or 1.0) * rate / 8)  # its pieces, and the film that is joined of them
    if free < min(needed, 1 << 40) / 4 or free < 1 << 20:
        raise VideoError(
            f"{where}: about {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free: free some space or write elsewhere"
        )
