"""A film's packets: whole ones of the picture in order, those of sound set aside, and whether any are missing."""

from __future__ import annotations  # PyAV's Packet takes a type argument in its stubs only

from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from edgeflow.runtime.video.reading.avi_index import AviIndex
from edgeflow.runtime.video.reading.clock import Clock
from edgeflow.runtime.video.reading.streams import promised_seconds

# How far the data may end before the length the container promises and still count as whole:
# sound and picture seldom end together, and headers round.
_SLACK_SECONDS = 0.5
_LEAST_SILENCE = 0.2
_FAULTS = 100


class Packets:
    """Iterates once over the packets of a film's picture.

    Args:
        container: Opened, and where reading begins.
        stream: Of the picture.
        origin: The film's start in seconds of the container's timestamps.
        clock: Of the pictures.
        on_damage: Called with the seconds into the film at which data cannot be decoded.
        on_silence: Called with the seconds into the film at which sound is missing, and for how long.

    Attributes:
        end: Of the data so far, in seconds of the container's timestamps.
        truncated: Set when the file's end turned out to be missing.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        origin: Fraction,
        clock: Clock,
        *,
        on_damage: Callable[[float], None],
        on_silence: Callable[[float, float], None],
    ) -> None:
        self._container, self._stream, self._origin, self._clock = container, stream, origin, clock
        self._on_damage, self._on_silence = on_damage, on_silence
        self._index = AviIndex(container)
        self._audio: deque[Packet[Stream]] = deque()
        self._heard: dict[int, float] = {}
        self.end = 0.0
        self._places: deque[int] = deque(maxlen=2)
        self.truncated = False

    def __iter__(self) -> Iterator[Packet[Stream]]:
        corrupt: float | None = None
        for packet in self._demuxed():
            self._index.mend(packet)
            if corrupt is not None:
                self._on_damage(corrupt)  # there is more behind it
                corrupt = None
            if packet.is_corrupt:
                corrupt = self.time_of(packet)  # in the middle, or at the file's end inside this packet
                continue
            self._note_end(packet)
            if packet.stream is self._stream:
                yield packet
            elif packet.stream.type == "audio":
                self._note_sound(packet)
                self._audio.append(packet)
        self.truncated = self.truncated or corrupt is not None

    def take_audio(self) -> list[Packet[Stream]]:
        """The audio packets met since the last call, still compressed."""
        return [self._audio.popleft() for _ in range(len(self._audio))]

    def time_of(self, packet: Packet[Stream]) -> float:
        """Seconds into the film of a packet; of the newest picture if it has no timestamp."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.time_base is None:
            return float(self._clock.last or 0)
        return float(stamp * packet.time_base - self._origin)

    def ended_early(self) -> bool:
        """Whether the data ends before what headers promise (of the picture, of each sound, or of all together) or inside a picture."""
        return (
            self._picture_ended_early()
            or self._sound_ended_early()
            or self._all_ended_early()
            or self._ended_inside()
        )

    def _demuxed(self) -> Iterator[Packet[Stream]]:
        """Packets as the container gives them; past data that is none."""
        faults = 0
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.InvalidDataError:
                faults += 1
                if faults > _FAULTS:
                    self.truncated = True
                    return
                self._on_damage(self.end - float(self._origin))
                packets = self._container.demux()
                continue
            except av.FFmpegError:
                self.truncated = True
                return
            except UnicodeDecodeError:
                continue
            if packet is None:
                return
            if packet.dts is not None or packet.size:  # PyAV's end marks, one for each stream, have neither
                yield packet

    def _note_sound(self, packet: Packet[Stream]) -> None:
        """Note where sound is missing: its packets follow each other, unless some were lost."""
        if packet.pts is None or packet.time_base is None:
            return
        at = float(packet.pts * packet.time_base)
        before = self._heard.get(packet.stream.index)
        if before is not None and at - before > _LEAST_SILENCE:
            self._on_silence(before - float(self._origin), at - before)
        self._heard[packet.stream.index] = at + float((packet.duration or 0) * packet.time_base)

    def _note_end(self, packet: Packet[Stream]) -> None:
        if packet.pos is not None:
            self._places.append(packet.pos)
        if packet.pts is not None and packet.time_base is not None:
            self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _picture_ended_early(self) -> bool:
        seen, promised = self._clock.last, promised_seconds(self._stream)
        if seen is None or promised is None:
            return False
        first = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
        ends = float(seen + self._origin + self._clock.usual)
        return ends < first + promised - 0.75 * float(self._clock.usual)

    def _sound_ended_early(self) -> bool:
        for stream in self._container.streams:
            promised = promised_seconds(stream) if stream.type == "audio" else None
            if promised is not None and self._heard.get(stream.index, 0.0) < promised - _LEAST_SILENCE:
                return True
        return False

    def _all_ended_early(self) -> bool:
        if self._container.duration is None or not self.end:
            return False
        start = max(0, self._container.start_time or 0)
        return self.end < (start + self._container.duration) / av.time_base - _SLACK_SECONDS

    def _ended_inside(self) -> bool:
        """Whether a y4m file goes on behind its last whole picture: FFmpeg drops the part of one without a word."""
        if self._container.format.name != "yuv4mpegpipe" or len(self._places) < 2:
            return False
        before, last = self._places
        return self._container.size > last + (last - before)
