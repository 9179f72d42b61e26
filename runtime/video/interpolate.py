"""Multiplies a video's frame rate by the middle of every two frames."""

from collections.abc import Callable
from pathlib import Path

from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.convert import Session, VideoReport
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.reading.source import Source

TASK = Task((0, 1), (Made("image", 0.5),))
"""Two neighbouring frames in, the one halfway out."""


def interpolate_video(
    session: Session,
    source: Source,
    destination: str | Path,
    *,
    times: int = 2,
    spread: bool = False,
    overlay: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Write a copy of a video with `times` its frame rate.

    The result lasts as long as the source: its last frame is repeated. Across a scene cut the frame
    before it is repeated instead of blended.

    Args:
        session: The interpolator: the frame halfway between two.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for y4m on stdout; not the source.
        times: 2, or 4 or 8 for midpoints between midpoints.
        spread: Leave out frames that repeat the one before, and spread motion over the time that they took.
        overlay: Whether to draw the routes of each pair of frames.
        overwrite: Whether a file that is there may be replaced.
        on_progress: Called after each source frame with how many are done and, if known, how many there are.

    Raises:
        InputError: `times` is neither 2, 4 nor 8.
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    return convert_film(
        session,
        TASK,
        source,
        destination,
        times=times,
        spread=spread,
        overlay=overlay,
        overwrite=overwrite,
        on_progress=on_progress,
    )
