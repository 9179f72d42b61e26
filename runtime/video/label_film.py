"""A film with what a model says of it written over its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.label_files import Line
from edgeflow.runtime.video.reading.reader import Reading, VideoReader
from edgeflow.runtime.video.writing.writer import VideoWriter

_PLATE, _INK = (0, 0, 0, 170), (255, 255, 255, 255)


def write_label_film(
    source: str | Path, destination: str | Path, lines: Sequence[Line], reading: Reading | None = None
) -> tuple[str, ...]:
    """Write a video's frames, each with the label of the newest window that it lies in. The sound is kept.

    Args:
        source: what the labels are of; read a second time, at its own size.
        destination: a path whose suffix names a container.
        lines: in the order of their windows.
        reading: how the video was read; its frames stay at their own size.

    Returns:
        What of the source could not be kept, one line each.

    Raises:
        VideoError: the source cannot be read, or the destination cannot be written.
    """
    with VideoReader(source, reading=replace(reading or Reading(), resize=None)) as reader:
        info, place = reader.info, 0
        with VideoWriter(
            destination, width=info.width, height=info.height, fps=info.fps, like=reader
        ) as writer:
            for shot in reader.shots():
                frame, middle = shot.pixels, float(shot.time + reader.usual / 2)
                while place + 1 < len(lines) and lines[place + 1].start < middle:
                    place += 1
                shown = lines[place] if lines and lines[place].start < middle < lines[place].end else None
                writer.write_audio(reader.take_audio())
                writer.write(draw_label(frame, shown) if shown else frame, shot.time)
            writer.write_audio(reader.take_audio())
        return writer.warnings


def draw_label(frame: Frame, line: Line) -> Frame:
    """Write a label into a frame's upper left corner.

    Args:
        frame: (h, w, 3) uint8; it is left as it is.
        line: what to write.

    Returns:
        A new frame.
    """
    height, width = frame.shape[:2]
    font = ImageFont.load_default(size=max(11, min(height, width) // 16))
    text = f"{line.name if line.name is not None else line.label}  {line.score:.2f}"
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    left, top, right, bottom = font.getbbox(text, anchor="lt")
    draw.rectangle((4, 4, right - left + 16, bottom - top + 16), _PLATE)
    draw.text((10, 10), text, _INK, font, anchor="lt")
    picture = Image.fromarray(frame)
    picture.paste(layer, mask=layer)
    return np.array(picture)
