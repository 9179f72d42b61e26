"""Files of labels: lines of JSON, or of a table (CSV)."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol, TextIO

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.writing.destination import place_of


@dataclass(frozen=True)
class Line:
    """What a model says of some frames.

    Attributes:
        start: of the first frame, in seconds.
        end: of the last frame.
        label: its place among the labels.
        name: of the label, if labels have names.
        score: as the model makes it.
    """

    start: float
    end: float
    label: int
    name: str | None
    score: float


class LabelFile(Protocol):
    """Takes labels in order."""

    def write(self, line: Line) -> None:
        """Append one."""


class JsonLines:
    """A line of JSON for every label."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: Line) -> None:
        """Append one."""
        self._file.write(json.dumps(asdict(line)) + "\n")
        self._file.flush()  # somebody may be waiting for it


class Table:
    """A table with a head, of a row for every label; labels without names have an empty cell."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow([field.name for field in fields(Line)])

    def write(self, line: Line) -> None:
        """Append one."""
        self._rows.writerow(list(asdict(line).values()))


@contextmanager
def opened(destination: str | Path) -> Iterator[LabelFile]:
    """A file to write labels to: a table if its name ends in .csv, else lines of JSON; "-" is stdout, in lines of JSON.

    It has its name once it is finished. What was written before a stop is kept under that name, unless a file is there.

    Raises:
        VideoError: it cannot be written.
    """
    if str(destination) == "-":
        yield JsonLines(sys.stdout)
        return
    path = place_of(destination)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.exists() and not path.is_file():
        part = path  # a device or a pipe
    try:
        with part.open("w", newline="") as file:
            yield Table(file) if path.suffix == ".csv" else JsonLines(file)
    except OSError as error:
        _let_go(part, path, keep=False)
        raise VideoError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    except BaseException:
        _let_go(part, path, keep=not path.exists())
        raise
    if part != path:
        part.replace(path)


def _let_go(part: Path, path: Path, keep: bool) -> None:
    """What was begun and not finished is kept or removed."""
    if part == path:
        return
    if keep and part.exists() and part.stat().st_size:
        part.replace(path)
    else:
        part.unlink(missing_ok=True)
