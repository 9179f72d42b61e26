"""Translates a video frame by frame."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Conversion, Session, VideoReport, convert
from edgeflow.runtime.video.overlay import enlarged
from edgeflow.runtime.video.scene import is_cut
from edgeflow.runtime.video.stages import Decoded, Stages


def translate_video(
    session: Session,
    source: str | Path | BinaryIO,
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
    middle = _Translation(session)
    return convert(
        middle,
        source,
        destination,
        times=1,
        overlay=overlay,
        overwrite=overwrite,
        resize=resize,
        picture=picture,
        on_progress=on_progress,
    )


class _Translation(Conversion):
    """One picture for every frame."""

    def run(self, stages: Stages, on_frame: Callable[[int], None]) -> None:
        previous: Frame | None = None
        for current in stages.decoded:
            if previous is not None and is_cut(previous, current.frame):
                self.cuts += 1
                self._session.reset()
            previous = current.frame
            result = self._infer(current.frame)
            made = Decoded(result.outputs[0], current.audio)
            regions = enlarged(result.trace.regions, current.frame, made.frame)
            stages.finished.put(self._finished(made, regions))
            self.frames += 1
            on_frame(self.frames)
