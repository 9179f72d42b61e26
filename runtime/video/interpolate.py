"""Multiplies a video's frame rate."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from edgeflow.ir.errors import InputError
from edgeflow.runtime.video.colour import Frame
from edgeflow.runtime.video.convert import Conversion, Result, Session, VideoReport, convert
from edgeflow.runtime.video.overlay import Region
from edgeflow.runtime.video.scene import is_cut
from edgeflow.runtime.video.stages import Decoded, Stages


def interpolate_video(
    session: Session,
    source: str | Path | BinaryIO,
    destination: str | Path,
    *,
    times: int = 2,
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
        times: 2, or 4 for midpoints between midpoints.
        overlay: Whether to draw the routes of each pair of frames.
        overwrite: Whether a file that is there may be replaced.
        on_progress: Called after each source frame with how many are done and, if known, how many there are.

    Raises:
        InputError: `times` is neither 2 nor 4.
        VideoError: The source cannot be read, or the destination cannot be written or may not be replaced.
    """
    if times not in (2, 4):
        raise InputError(f"times is {times}; choose 2 or 4")
    middle = _Interpolation(session, times)
    return convert(
        middle,
        source,
        destination,
        times=times,
        overlay=overlay,
        overwrite=overwrite,
        resize=None,
        on_progress=on_progress,
    )


_Pair = tuple[Decoded, Future[list[Result]]]
"""A frame, and what will lie between it and the next."""


class _Interpolation(Conversion):
    """Pairs the source's frames and fills in between, for as many pairs at a time as the session may have in flight."""

    def __init__(self, session: Session, times: int) -> None:
        super().__init__(session)
        self._times = times
        self._pairs: deque[_Pair] = deque()

    def run(self, stages: Stages, on_frame: Callable[[int], None]) -> None:
        previous: Decoded | None = None
        with ThreadPoolExecutor(self._session.in_flight, "infer") as pool:
            for current in stages.decoded:
                if previous is not None:
                    self._pair(previous, current.frame, pool, stages)
                previous = current
                self.frames += 1
                on_frame(self.frames)
            self._finish(stages)
        if previous is not None:
            self._emit(stages, previous, repeat=self._times)

    def _pair(self, previous: Decoded, current: Frame, pool: ThreadPoolExecutor, stages: Stages) -> None:
        """Begin what lies between two frames."""
        if is_cut(previous.frame, current):
            self._finish(stages)
            self.cuts += 1
            self._session.reset()
            self._emit(stages, previous, repeat=self._times)
            return
        self._pairs.append((previous, pool.submit(self._between, previous.frame, current, self._times)))
        self._finish(stages, leave=self._session.in_flight - 1)

    def _finish(self, stages: Stages, leave: int = 0) -> None:
        """Emit pairs in order, until so many are left: the first frame of each, and what follows it."""
        while len(self._pairs) > leave:
            previous, future = self._pairs.popleft()
            with self._waiting():
                between = future.result()
            for result in between:
                self._note(result)
            # The source frame shows the routes of what follows it; without any the overlay would flicker.
            self._emit(stages, previous, between[0].trace.regions)
            for result in between:
                self._emit(stages, Decoded(result.outputs[0], []), result.trace.regions)

    def _between(self, first: Frame, second: Frame, times: int) -> list[Result]:
        """The times - 1 results between two frames: the middle, and the middles of the halves."""
        middle = self._session.run(first, second)
        if times == 2:
            return [middle]
        frame = middle.outputs[0]
        before, after = (self._between(*half, times // 2) for half in ((first, frame), (frame, second)))
        return [*before, middle, *after]

    def _emit(self, stages: Stages, source: Decoded, regions: Sequence[Region] = (), repeat: int = 1) -> None:
        stages.finished.put(self._finished(source, regions, repeat))
