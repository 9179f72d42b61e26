"""Writes frames as pictures: one, or a numbered series such as frames/%05d.png."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeflow.ir.errors import BundleError, VideoError
from edgeflow.ir.files import write_atomically
from edgeflow.runtime.video.reading.source import Source

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

    from edgeflow.runtime.video.reading.reader import VideoReader

_JPEG: tuple[str, dict[str, Any]] = ("JPEG", {"quality": 95, "subsampling": 0})
_KINDS = {
    ".png": ("PNG", {"compress_level": 3}),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
}
"""Pillow's name of a format, and how it is written, by suffix."""
_NUMBER = re.compile(r"%(0\d+)?d")


def are_pictures(destination: str | Path) -> bool:
    """Whether a name is that of a picture, or of numbered ones."""
    return Path(destination).suffix.lower() in _KINDS


def check_pictures(source: Source, destination: str | Path, overwrite: bool) -> None:
    """Refuse names under which pictures are there already, or that lie among the pictures that are read.

    Raises:
        VideoError: they do, there is no place for their folder, or the name has several numbers, or one in its folder's name.
    """
    place = Path(destination)
    if not (place.parent.is_dir() or (place.parent.parent.is_dir() and not place.parent.exists())):
        raise VideoError(f"{destination}: folder {place.parent} does not exist; create it first")
    numbers = _NUMBER.findall(place.name)
    if len(numbers) > 1 or "%" in _NUMBER.sub("", str(place)) or "%" in str(place.parent):
        raise VideoError(f"{destination}: give the file name one number, such as frames/%05d.png")
    if isinstance(source, str | Path) and place.parent.resolve() == Path(source).resolve():
        raise VideoError(f"{destination} lies among the pictures that are read: write to another folder")
    there = [name for name in place.parent.glob("*") if _fits(place.name, name.name)]
    if there and not overwrite:
        raise VideoError(f"{there[0]} exists: choose another name, or replace it with --overwrite")
    same = [name for name in there if isinstance(source, str | Path) and _same(Path(source), name)]
    if same:
        raise VideoError(f"{same[0]} is the picture that is read: write to another file")


class PictureWriter:
    """Writes frames as pictures, each of a series under its name when it is whole, a single one at the end; use it in a with statement.

    The folder is made with the first picture, if it is not there.

    Args:
        destination: The picture's name, with a number such as %05d if there are several; they are counted from 1.
        like: Where the frames come from.
        most: Pictures that will come, if that is known.

    Attributes:
        warnings: What of the source could not be kept, one line each.
        written: Pictures so far.

    Raises:
        VideoError: Several pictures will come, and the name has no number.
    """

    def __init__(self, destination: str | Path, like: VideoReader, most: int | None) -> None:
        self._destination = Path(destination)
        self._numbered = bool(_NUMBER.search(self._destination.name))
        self.written = 0
        self._single: bytes | None = None
        self.warnings: tuple[str, ...] = ()
        if most is not None and most > 1:
            self._refuse_second()
        if like.info.audio:
            self.warnings += (f"{destination}: pictures hold no sound, which was left out",)
        if like.info.bits > 8:
            self.warnings += (
                f"{destination}: pictures have 8 bits a channel, the source has {like.info.bits}",
            )

    def write(self, frame: NDArray[Any], time: Fraction) -> None:
        """Write one more picture, (height, width, 3) uint8.

        Raises:
            VideoError: It could not be stored, or is a second one of the same name.
        """
        if self.written:
            self._refuse_second()
        self.written += 1
        name = _NUMBER.sub(lambda found: found[0] % self.written, self._destination.name)
        place = self._destination.with_name(name)
        held = io.BytesIO()
        kind, options = _KINDS[place.suffix.lower()]
        Image.fromarray(np.ascontiguousarray(frame)).save(held, kind, **options)
        if self._numbered:
            self._store(place, held.getvalue())
        else:
            self._single = held.getvalue()  # it counts only if no second one comes

    def _store(self, place: Path, data: bytes) -> None:
        try:
            place.parent.mkdir(exist_ok=True)
            write_atomically(place, data)
        except (BundleError, OSError) as error:
            raise VideoError(f"{error}; the {self.written - 1} before it are whole") from error

    def write_audio(self, packets: Iterable[Packet[Stream]]) -> None:
        """Pictures hold no sound."""

    def done(self, frames: int, scene: int) -> None:
        """All that is made of so many frames of the source was written; here nothing hangs on it."""

    def close(self) -> None:
        """Store the single picture; those of a series are whole already."""
        if self._single is not None:
            self._store(self._destination, self._single)

    def __enter__(self) -> PictureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def _refuse_second(self) -> None:
        if not self._numbered:
            name = self._destination
            raise VideoError(
                f"{name}: more than one picture is made: give the name a number, such as {name.stem}-%05d{name.suffix}"
            )


def _fits(pattern: str, name: str) -> bool:
    """Whether a file name is one of a pattern's."""
    found = _NUMBER.search(pattern)
    if found is None:
        return name == pattern
    return bool(
        re.fullmatch(re.escape(pattern[: found.start()]) + r"\d+" + re.escape(pattern[found.end() :]), name)
    )


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.samefile(other)
