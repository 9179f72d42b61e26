"""What a film carries beside its pictures, and what of it a container can hold: found before the first frame."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from edgeflow.runtime.video.reading.streams import codec_name

_KINDS = {"audio": "sound", "subtitle": "subtitles", "attachment": "an attachment", "data": "data"}
_HOLDS_MORE = {"matroska": ".mkv", "mov": ".mov", "mp4": ".mp4", "webm": ".webm", "avi": ".avi"}
_TRIED_PACKETS = 4000
_OWN = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "handler_name", "vendor_id"}
)
"""Tags that each container writes for itself."""


@dataclass(frozen=True)
class Carried:
    """What goes along.

    Attributes:
        streams: Numbers of the source's streams that are copied: sound, subtitles, attachments.
        remarks: What is left out and why, one line each.
    """

    streams: tuple[int, ...]
    remarks: tuple[str, ...]


def what_fits(source: InputContainer, video: int, container: str, name: str) -> Carried:
    """Which of a source's streams a container holds: each is tried, with its first packet, on a film of one picture in memory.

    Args:
        source: opened for this: it is read from.
        video: number of the stream whose pictures are remade.
        container: by FFmpeg's name.
        name: of the new film, for messages.
    """
    others = [s for s in source.streams if s.index != video and s.type != "video"]
    first = _first_packets(source, [s for s in others if s.type in ("audio", "subtitle")])
    kept, left = [], []
    for stream in others:
        if _holds(container, stream, first.get(stream.index)):
            kept.append(stream.index)
        else:
            ways = [
                end
                for kind, end in _HOLDS_MORE.items()
                if kind != container and _holds(kind, stream, first.get(stream.index))
            ]
            what = (
                f"{codec_name(stream)} {_KINDS[stream.type]}"
                if stream.type in ("audio", "subtitle")
                else _KINDS.get(stream.type, stream.type)
            )
            advice = (
                f"; {' or '.join(ways[:2])} can"
                if ways
                else "; nor can any other container that is written here"
            )
            left.append(f"{name}: cannot hold {what}, which was left out{advice}")
    if container != "matroska" and any(s.type == "attachment" for s in others):
        left = [line for line in left if "attachment" not in line]
        left.append(f"{name}: cannot hold attachments, which were left out; .mkv can")
    if _chapters(source) and container not in ("mp4", "mov", "matroska", "webm"):
        left.append(f"{name}: cannot hold chapters, which were left out; .mkv or .mp4 can")
    return Carried(tuple(kept), tuple(dict.fromkeys(left)))


def copy_descriptions(source: InputContainer, out: OutputContainer, video: Stream, made: Stream) -> None:
    """Title, place, date and other tags, chapters, and what the video stream says of itself.

    Args:
        source: where they are.
        out: that gets them, before it is begun.
        video: of the source.
        made: of the new film.
    """
    out.metadata.update({key: value for key, value in source.metadata.items() if key.lower() not in _OWN})
    if "timecode" in video.metadata:
        out.metadata["timecode"] = video.metadata["timecode"]
    _describe(video, made)
    if chapters := _chapters(source):
        out.set_chapters(chapters)


def add_copies(source: InputContainer, out: OutputContainer, numbers: tuple[int, ...]) -> dict[int, Stream]:
    """Streams of a new film that take the packets of others, by the number of these."""
    made: dict[int, Stream] = {}
    for number in numbers:
        stream = source.streams[number]
        if stream.type == "attachment":
            out.add_attachment(stream.name, stream.mimetype, stream.data)  # type: ignore[attr-defined,arg-type]
        else:
            made[number] = out.add_stream_from_template(stream)
            _describe(stream, made[number])
    return made


def _describe(stream: Stream, made: Stream) -> None:
    made.metadata.update(
        {key: value for key, value in stream.metadata.items() if key.lower() not in _OWN - {"handler_name"}}
    )
    made.disposition = stream.disposition


def _chapters(source: InputContainer) -> list[Any]:
    return list(source.chapters())


def _first_packets(source: InputContainer, streams: list[Stream]) -> dict[int, Packet[Stream]]:
    """The first packet of each stream, as far as they come early."""
    found: dict[int, Packet[Stream]] = {}
    waiting = {stream.index for stream in streams}
    if not waiting:
        return found
    try:
        for number, packet in enumerate(source.demux()):
            if packet.size and packet.stream.index in waiting and packet.dts is not None:
                found[packet.stream.index] = packet
                waiting.discard(packet.stream.index)
            if not waiting or number > _TRIED_PACKETS:
                break
    except (av.FFmpegError, UnicodeDecodeError):
        pass  # what is there is tried
    return found


def _holds(container: str, stream: Stream, packet: Packet[Stream] | None) -> bool:
    """Whether a container takes a stream: a film of one picture and one packet is written to memory."""
    if stream.type == "attachment":
        return container == "matroska"
    if stream.type not in ("audio", "subtitle"):
        return False  # timecode and the like: tags say what they say
    try:
        with av.open(io.BytesIO(), "w", format=container) as out:
            video = out.add_stream("libvpx-vp9" if container == "webm" else "mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
            made = out.add_stream_from_template(stream)
            out.start_encoding()
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = 0, Fraction(1, 25)
            out.mux([*video.encode(picture), *video.encode(None)])
            if packet is not None:
                again = Packet(bytes(packet))
                again.pts = again.dts = 0
                again.duration, again.time_base, again.stream = packet.duration, packet.time_base, made
                again.is_keyframe = True
                out.mux(again)
    except (av.FFmpegError, OSError, ValueError, NotImplementedError):
        return False
    return True
