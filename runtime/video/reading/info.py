"""What a video says about itself, and what of it no copy keeps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgeflow.runtime.video.colour import Colour
from edgeflow.runtime.video.reading.mastering import Mastering, mastering_of
from edgeflow.runtime.video.reading.orientation import side_data
from edgeflow.runtime.video.reading.streams import codec_name, frame_rate

_WATCHED = frozenset({"h264", "hevc", "vp9", "vp8", "av1", "mpeg4", "mpeg2video"})

_SIDE = {
    "STEREO3D": "its 3D packing",
    "SPHERICAL": "that it is spherical",
    "DOVI_METADATA": "its Dolby Vision data",
    "A53_CC": "its closed captions",
}
"""What pictures may carry beside them that no copy keeps here, by FFmpeg's name."""


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


def describe(
    container: InputContainer,
    stream: VideoStream,
    picture: VideoFrame,
    shown: tuple[int, int],
    size: tuple[int, int],
    name: str,
    start: Fraction,
) -> VideoInfo:
    """What a video says about itself.

    Args:
        container: opened.
        stream: of the picture.
        picture: the first.
        shown: (height, width) of it as it is shown.
        size: (height, width) at which frames are given.
        name: what messages call the video.
        start: time of the first picture in seconds.
    """
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
        fps=frame_rate(stream),
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


def lost_with(picture: VideoFrame, name: str) -> tuple[str, ...]:
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
