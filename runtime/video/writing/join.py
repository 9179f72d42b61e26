"""Joins a film's pieces, without encoding again, with the sound and all else that the source carries; and checks the join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.colour import Colour
from edgeflow.runtime.video.reading.avi_index import AviIndex
from edgeflow.runtime.video.reading.source import open_source
from edgeflow.runtime.video.writing.encoder import tag_colour
from edgeflow.runtime.video.writing.pieces import AHEAD
from edgeflow.runtime.video.writing.tracks import add_copies, copy_descriptions


@dataclass(frozen=True)
class Sound:
    """What to take from the source.

    Attributes:
        source: its path.
        video: number of the stream whose pictures were remade.
        streams: numbers of those that are copied.
        origin: seconds at which the film begins there.
        start: whether that is a place that was asked for: what lies before it is left out.
        end: seconds after which packets are left out; None for all.
    """

    source: Path
    video: int
    streams: tuple[int, ...]
    origin: Fraction
    start: bool
    end: float | None


def join(
    pieces: Sequence[Path], sound: Sound, into: Path, container: str, tick: Fraction, colour: Colour
) -> tuple[int, int]:
    """Write a film of its pieces.

    Args:
        pieces: in order, at least one.
        sound: what else goes into it.
        into: the file to write.
        container: by FFmpeg's name.
        tick: what the pictures' times are counted in, seconds.
        colour: of the pictures: pieces do not say what their codec does not.

    Returns:
        How many pictures it holds, and how many packets beside them were so damaged that they are left out.

    Raises:
        VideoError: a piece is damaged, or the pieces do not fit each other.
        FFmpegError, OSError: the film cannot be written.
    """
    source = open_source(sound.source)[1]
    with (
        source,
        av.open(f"file:{into}", "w", format=container, options=_options(container)) as out,
        av.open(str(pieces[0])) as first,
    ):
        template = first.streams.video[0]
        made = out.add_stream_from_template(template)
        made.time_base = tick
        tag_colour(made, colour)
        copy_descriptions(source, out, source.streams[sound.video], made)
        copies = add_copies(source, out, sound.streams)
        others = _sound(source, sound, copies)
        extradata = template.codec_context.extradata
        return _interleave(out, _pictures(pieces, made, tick, extradata), others)


def _options(container: str) -> dict[str, str]:
    same = {"fflags": "+bitexact"}  # no random numbers: what is made twice is equal
    if container not in ("mp4", "mov"):
        return same
    # A timecode stays a tag: of a copied stream FFmpeg takes the time base for its frame rate, and refuses to count by that.
    return same | {"movflags": "+faststart+use_metadata_tags", "write_tmcd": "0"}


def _interleave(
    out: OutputContainer, pictures: Iterator[Packet[Stream]], others: Iterator[Packet[Stream]]
) -> tuple[int, int]:
    """Write packets of both in the order of their times."""
    written = dropped = 0
    last: dict[int, int] = {}
    picture, other = next(pictures, None), next(others, None)
    while picture is not None or other is not None:
        if other is None or (picture is not None and _time(picture) <= _time(other)):
            assert picture is not None
            out.mux(picture)
            written += 1
            picture = next(pictures, None)
        else:
            dropped += not _mux(out, other, last)
            other = next(others, None)
    return written, dropped


def _mux(out: OutputContainer, packet: Packet[Stream], last: dict[int, int]) -> bool:
    """Write a packet of sound or the like; False of one whose times or contents are so damaged that it cannot be."""
    dts = packet.dts or 0
    if dts < last.get(packet.stream.index, dts):
        return False
    try:
        out.mux(packet)
    except (av.ArgumentError, av.InvalidDataError):
        return False
    last[packet.stream.index] = dts
    return True


def _time(packet: Packet[Stream]) -> float:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return float((stamp or 0) * (packet.time_base or 0))


def _pictures(
    pieces: Sequence[Path], made: Stream, tick: Fraction, extradata: bytes | None
) -> Iterator[Packet[Stream]]:
    """Packets of all pieces with the decoding times of one stream: pictures in their order, as far back as the longest delay."""
    delay = 0
    shown: list[int] = []
    for path in pieces:
        times = [packet[0] for packet in _stamps(path, tick)]
        order = {time: place for place, time in enumerate(sorted(times))}
        if len(order) != len(times) or (shown and min(times) <= shown[-1]):
            raise VideoError(f"{path}: does not follow the piece before it; remove its folder and begin anew")
        delay = max(delay, *(number - order[time] for number, time in enumerate(times)))
        shown += sorted(times)
    steps = [after - before for before, after in pairwise(shown)]
    step = min(steps, default=1)
    lasts = dict(zip(shown, [*steps, *(steps[-1:] or [1])], strict=True))
    number = 0
    for path in pieces:
        with av.open(str(path)) as piece:
            stream = piece.streams.video[0]
            if stream.codec_context.extradata != extradata:
                raise VideoError(
                    f"{path}: was encoded otherwise than the first piece; remove its folder and begin anew"
                )
            packets: Iterator[Packet[Any]] = piece.demux(stream)
            for packet in packets:
                if packet.pts is None:
                    continue
                packet.pts = round(packet.pts * packet.time_base / tick) - AHEAD
                packet.dts = shown[number - delay] if number >= delay else shown[0] - (delay - number) * step
                packet.time_base, packet.stream = tick, made
                packet.duration = lasts[packet.pts]
                number += 1
                yield packet


def _stamps(path: Path, tick: Fraction) -> list[tuple[int, bool]]:
    """(time, key) of each picture of a piece, in the order of decoding.

    Raises:
        VideoError: the piece is damaged.
    """
    try:
        with av.open(str(path)) as piece:
            found = [
                (round(packet.pts * packet.time_base / tick) - AHEAD, packet.is_keyframe)
                for packet in piece.demux(video=0)
                if packet.pts is not None
            ]
    except (av.FFmpegError, IndexError) as error:
        raise VideoError(f"{path}: is damaged ({error}); remove its folder and begin anew") from error
    if not found or not found[0][1]:
        raise VideoError(f"{path}: does not begin with a key picture; remove its folder and begin anew")
    return found


def _sound(source: InputContainer, sound: Sound, copies: dict[int, Stream]) -> Iterator[Packet[Stream]]:
    """The source's packets of what is copied, from where the film begins."""
    if not copies:
        return
    packets, index = source.demux([source.streams[number] for number in copies]), AviIndex(source)
    faults = 0
    while True:
        try:
            packet = next(packets, None)
        except (av.InvalidDataError, UnicodeDecodeError):
            faults += 1
            if faults > 100:
                return
            packets = source.demux([source.streams[number] for number in copies])
            continue
        except av.FFmpegError:
            return  # the source's end is missing, which its pictures told already
        if packet is None:
            return
        if packet.dts is None or packet.time_base is None or packet.is_corrupt:
            continue
        index.mend(packet)
        shift = round(sound.origin / packet.time_base)
        time = float((packet.dts - shift) * packet.time_base)
        if (sound.start and time < 0) or (sound.end is not None and time > sound.end):
            continue
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        packet.stream = copies[packet.stream.index]
        yield packet
