"""The display that an HDR film was mastered on and how bright it gets, as its pictures carry them (SMPTE ST 2086, CTA-861.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from av.video.frame import VideoFrame

from edgeflow.runtime.video.reading.orientation import side_data


@dataclass(frozen=True)
class Mastering:
    """What is known of it.

    Attributes:
        display: x and y of red, green, blue and white, in 0.00002, then the largest and least luminance, in 0.0001 cd/m2; None if not stated.
        light: the largest light of a pixel, and of a picture in the mean, in cd/m2; None if not stated.
    """

    display: tuple[int, ...] | None = None
    light: tuple[int, int] | None = None

    def for_x265(self) -> str:
        """The same as parameters of x265, each with a colon before it."""
        text = ""
        if self.display:
            red, green, blue, white = (self.display[i : i + 2] for i in range(0, 8, 2))
            largest, least = self.display[8:]
            places = "".join(
                f"{name}({x},{y})"
                for name, (x, y) in (
                    ("G", green),
                    ("B", blue),
                    ("R", red),
                    ("WP", white),
                    ("L", (largest, least)),
                )
            )
            text += f":master-display={places}"
        if self.light:
            text += f":max-cll={self.light[0]},{self.light[1]}"
        return text


def mastering_of(picture: VideoFrame) -> Mastering | None:
    """What a decoded picture says of it; None where it says nothing."""
    display: tuple[int, ...] | None = None
    light: tuple[int, int] | None = None
    for data in side_data(picture):
        kind, held = getattr(data.type, "name", ""), bytes(data)
        if kind == "MASTERING_DISPLAY_METADATA" and len(held) >= 88:
            display = _display(held)
        elif kind == "CONTENT_LIGHT_LEVEL" and len(held) >= 8:
            light = struct.unpack("=2I", held[:8])
            light = light if any(light) else None  # x265 writes zeros where nothing is known
    return Mastering(display, light) if display or light else None


def _display(held: bytes) -> tuple[int, ...] | None:
    """FFmpeg's AVMasteringDisplayMetadata: ten fractions, then whether primaries and luminance are stated."""
    numbers = struct.unpack("=22i", held[:88])
    if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return None
    values = [numbers[i] / numbers[i + 1] for i in range(0, 20, 2)]
    least, largest = values[8:]
    return (*(round(50_000 * value) for value in values[:8]), round(10_000 * largest), round(10_000 * least))
