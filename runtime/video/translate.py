"""Translates a video frame by frame."""

from collections.abc import Callable
from pathlib import Path

from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.convert import Session, VideoReport
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.reading.source import Source

TASK = Task((0,), (Made("image"),))
"""A frame in, a picture out."""


def translate_video(
    session: Session,
    source: Source,
    destination: str | Path,
    *,
    overlay: bool = False,
    overwrite: bool = False,
    resize: Callable[[int, int], tuple[int, int]] | None = None,
    picture: tuple[int, int] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Write what the session makes of every frame of a video. At a scene cut it forgets what came before.

    Args:
        session: The translator: a picture like the frame it is given.
        source: A path, "-" for y4m on stdin, or a binary file object.
        destination: A path, or "-" for y4m on stdout; not the source.
        overlay: Whether to mark each frame with its route, such as key frame or shortcut.
        resize: The (height, width) at which frames of this height and width are read; as they are if None.
        overwrite: Whether a file that is there may be replaced.
        picture: The (height, width) of the pictures made, if it is not that of the frames.
        on_progress: Called after each frame with how many are done and, if known, how many there are.

    Raises:
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    return convert_film(
        session,
        TASK,
        source,
        destination,
        overlay=overlay,
        overwrite=overwrite,
        resize=resize,
        picture=(lambda height, width: picture) if picture else None,
        on_progress=on_progress,
    )
