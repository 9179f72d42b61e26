"""Gives packets of an AVI their times by its index: packets carry none, and are counted wrongly where some before them are lost."""

from __future__ import annotations

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

_HEADER = 8
"""Bytes of a chunk's name and length; the index points before them, a packet behind."""


class AviIndex:
    """The places of an AVI's packets in time; of other containers, and where the index is lost, nothing.

    Args:
        container: opened.
    """

    def __init__(self, container: InputContainer) -> None:
        self._places: dict[int, dict[int, int]] = {}
        self._bytes: set[int] = (
            set()
        )  # streams whose index counts bytes, as that of PCM does; their packets count samples
        if container.format.name != "avi":
            return
        for stream in container.streams:
            entries = getattr(stream, "index_entries", None)
            if entries is not None:
                held = list(entries)
                self._places[stream.index] = {entry.pos + _HEADER: entry.timestamp for entry in held}
                if len(held) > 1 and held[1].timestamp - held[0].timestamp == held[0].size > 1:
                    self._bytes.add(stream.index)

    def mend(self, packet: Packet[Stream]) -> None:
        """Let a packet's times be those that the index has."""
        place = self._places.get(packet.stream.index, {}).get(packet.pos if packet.pos is not None else -1)
        if place is None or packet.dts is None:
            return
        if packet.stream.index in self._bytes:
            if not packet.duration or not packet.size:
                return
            place = place * packet.duration // packet.size
        if place == packet.dts:
            return
        shift = place - packet.dts
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
