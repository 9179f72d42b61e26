"""Clips of a folder as triplets of frames: decoded once, split by time.

The last fifth of every clip is for validation, and held-out clips are kept apart entirely.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import TrainError

BLOCK = 32
"""Side of the blocks whose activity is known, in pixels."""
SCENE_CUT = 40.0
"""Mean luma change over a whole frame (0..255) that only a scene cut makes."""
MOST_FRAMES = 3000
"""Frames taken of one clip; the rest is left out, so that one film cannot fill the disk."""
FEWEST_FRAMES = 10
"""With fewer, a clip has no triplet both for training and for validation."""


@dataclass(frozen=True)
class Clip:
    """A decoded clip.

    Attributes:
        name: file name.
        frames: (frames, height, width, 3) uint8 RGB, mapped from the cache.
        activity: (frames - 2, rows, columns) float32: mean absolute luma change from frame t to
            t + 2 in each block of 32 pixels, 0 to 255.
    """

    name: str
    frames: NDArray[np.uint8]
    activity: NDArray[np.float32]

    @property
    def split(self) -> int:
        """Frames before this one are for training, the others for validation."""
        return len(self.frames) * 4 // 5

    def continuous(self, first: int, last: int) -> bool:
        """Whether no scene cut lies between two frames."""
        return bool((self.activity[first : last - 1].mean((1, 2)) < SCENE_CUT).all())


@dataclass(frozen=True)
class Dataset:
    """Clips to train on, clips held out, and one line for every file that was left out."""

    training: tuple[Clip, ...]
    held_out: tuple[Clip, ...]
    skipped: tuple[str, ...]


def load_clips(
    folder: Path, cache: Path, hold_out: Collection[str] = (), size: tuple[int, int] | None = None
) -> Dataset:
    """Decode the clips of a folder, or find them decoded in the cache.

    Args:
        folder: holds the video files; its subfolders are not searched.
        cache: where decoded frames are kept; made if missing.
        hold_out: file names of clips that training must not see.
        size: (height, width) to which frames are resized; each clip keeps its own if None.

    Raises:
        TrainError: no such folder, no usable clip in it, or a held-out name is not there.
    """
    if not folder.is_dir():
        raise TrainError(f"no folder {folder}: give one that holds video files with --data")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    missing = set(hold_out) - {path.name for path in files}
    if missing:
        raise TrainError(
            f"no clip {', '.join(sorted(missing))} in {folder} to hold out: give file names in it"
        )
    cache.mkdir(parents=True, exist_ok=True)
    clips, skipped = [], []
    for path in files:
        try:
            clips.append(_load(path, cache, size))
        except TrainError as error:
            skipped.append(f"left out {path.name}: {error}")
    training = tuple(clip for clip in clips if clip.name not in hold_out)
    if not training:
        reasons = f" ({'; '.join(skipped)})" if skipped else ""
        raise TrainError(f"no clip to train on in {folder}{reasons}: put video files there")
    return Dataset(training, tuple(clip for clip in clips if clip.name in hold_out), tuple(skipped))


def _load(path: Path, cache: Path, wanted: tuple[int, int] | None) -> Clip:
    stat = path.stat()
    told = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}" + (f" {wanted}" if wanted else "")
    key = sha256(told.encode()).hexdigest()[:16]
    found = list(cache.glob(f"{key}-*.rgb"))
    raw = found[0] if found else _decode(path, cache, key, wanted)
    width, height = (int(part) for part in raw.stem.split("-")[1].split("x"))
    frames = np.memmap(raw, np.uint8, "r").reshape(-1, height, width, 3)
    if len(frames) < FEWEST_FRAMES:
        raise TrainError(f"it has {len(frames)} frames, and training needs {FEWEST_FRAMES}")
    known = raw.with_suffix(".npy")
    if not known.exists():
        partial = raw.with_suffix(".partial.npy")
        np.save(partial, np.stack(list(_activity(frames))))
        partial.replace(known)
    return Clip(path.name, frames, np.load(known))


def _decode(path: Path, cache: Path, key: str, wanted: tuple[int, int] | None) -> Path:
    """Write a clip's frames to `<key>-<width>x<height>.rgb`: of the wanted size, or all of the first one's."""
    partial = cache / f"{key}.partial"
    size = wanted and wanted[::-1]
    try:
        with av.open(str(path)) as container, partial.open("wb") as out:
            if not container.streams.video:
                raise TrainError("it holds no video")
            for number, frame in enumerate(container.decode(video=0)):
                size = size or (frame.width, frame.height)
                made = frame.reformat(*size, "rgb24", interpolation="AREA" if wanted else None)
                out.write(made.to_ndarray().tobytes())
                if number + 1 == MOST_FRAMES:
                    break
    except (av.FFmpegError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise TrainError(f"it cannot be decoded ({error})") from error
    if size is None:
        raise TrainError("it holds no picture")
    return partial.replace(cache / f"{key}-{size[0]}x{size[1]}.rgb")


def _activity(frames: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Block means of the luma change from each frame to the one after the next, on every fourth pixel."""
    step = 4
    lumas = (_luma(frame[::step, ::step]) for frame in frames)
    before = [next(lumas), next(lumas)]
    for number, luma in enumerate(lumas):
        yield _blocks(np.abs(luma - before[number % 2]), BLOCK // step)
        before[number % 2] = luma


def _luma(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    luma: NDArray[np.float32] = frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma


def _blocks(change: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Means of blocks; a remainder at the right and the bottom is left out unless it is all there is."""
    rows, columns = (max(length // side, 1) for length in change.shape)
    cut = change[: rows * side, : columns * side]
    means: NDArray[np.float32] = cut.reshape(rows, cut.shape[0] // rows, columns, -1).mean((1, 3))
    return means
