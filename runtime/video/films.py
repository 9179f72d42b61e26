"""A folder of films that become films in another folder, and which of these are done.

    OUT/edgeflow-films.json     of every film that is done what it was made of

A film that was begun has a folder of pieces beside its name (`writing/pieces.py`) and is gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle.json_file import read_json
from edgeflow.ir.bundle.schema import plain, record, table, text
from edgeflow.ir.errors import BundleError, InputError, VideoError
from edgeflow.ir.files import write_atomically
from edgeflow.runtime.video.reading.source import PICTURES, Source
from edgeflow.runtime.video.writing.destination import FORMATS, JOINED
from edgeflow.runtime.video.writing.pieces import fingerprint_of

FILMS = (
    frozenset(
        {
            *FORMATS,
            ".ts",
            ".m2ts",
            ".mts",
            ".mpg",
            ".mpeg",
            ".vob",
            ".flv",
            ".wmv",
            ".3gp",
            ".ogv",
            ".264",
            ".265",
        }
    )
    - PICTURES
)
"""Suffixes that films in a folder are known by."""

_RECORD, _FORMAT = "edgeflow-films.json", "edgeflow-films"
_SCHEMA = record({"format": text(40), "films": table(text(1000), plain(3), 100_000)})


_ANYWAY = ("0", "auto")
"""Words of options that are the same as none."""


@dataclass(frozen=True)
class Job:
    """A film to be made of another."""

    source: Path
    output: Path

    @property
    def begun(self) -> bool:
        """Whether an earlier run left pieces of it."""
        return self.output.with_name(f"{self.output.name}.parts").is_dir()


def holds_films(source: Source) -> bool:
    """Whether a source is a folder of films, and not one of pictures.

    Raises:
        InputError: it is a folder of both.
    """
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        return False
    kinds = {path.suffix.lower() for path in Path(source).iterdir() if path.is_file()}
    if kinds & FILMS and kinds & PICTURES:
        raise InputError(
            f"{source} holds films and pictures ({', '.join(sorted(kinds & (FILMS | PICTURES)))}): give a folder of one of them"
        )
    return bool(kinds & FILMS)


def jobs_of(folder: Path, out: Path) -> list[Job]:
    """A job for every film in a folder, or the one that is given, by name; the results have the same names, with `.mkv` after those of other containers.

    Raises:
        VideoError: the results cannot go there.
    """
    if out.is_file() or (out.suffix.lower() in FILMS and not out.is_dir()):
        what = f"{folder} is a folder of films, whose results go" if folder.is_dir() else "results go"
        raise VideoError(f"{out}: {what} into a folder, under their sources' names; give one")
    if out.exists() and out.samefile(folder):
        raise VideoError(f"{out} is the folder that is read: write to another one")
    films = [folder] if folder.is_file() else films_of(folder)
    return [Job(path, out / _name(path)) for path in films]


def films_of(folder: Path) -> list[Path]:
    """The films in a folder, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in FILMS and not path.name.startswith(".")
    )


def _name(path: Path) -> str:
    joined = FORMATS.get(path.suffix.lower()) in JOINED
    return path.name if joined else f"{path.name}.mkv"


class Ledger:
    """Which films of a folder are done, and what they were made of.

    Args:
        out: the folder of results.
        made_of: whatever a film depends on beside its source.

    Raises:
        VideoError: the folder's record is not edgeflow's.
    """

    def __init__(self, out: Path, made_of: Mapping[str, Any]) -> None:
        self._place, self._made_of = out / _RECORD, dict(made_of)
        self._films: dict[str, Any] = {}
        if self._place.exists():
            self._films = _read(self._place)

    def done(self, job: Job) -> bool:
        """Whether a film is there that was made of the same source in the same way."""
        return job.output.is_file() and not job.begun and self._films.get(job.output.name) == self._what(job)

    def check(self, job: Job) -> None:
        """Refuse to make a film where another is.

        Raises:
            VideoError: says how that one was made otherwise.
        """
        if not job.output.exists():
            return
        found = self._films.get(job.output.name)
        why = "not by this command" if found is None else " and ".join(_differences(found, self._what(job)))
        raise VideoError(
            f"{job.output} exists, made {why}: give the same options to keep it, another folder for both, or --overwrite to make "
            "it anew"
        )

    def note(self, job: Job) -> None:
        """A film is done.

        Raises:
            BundleError: the record cannot be written.
        """
        self._films[job.output.name] = self._what(job)
        told = {"format": _FORMAT, "films": self._films}
        write_atomically(self._place, (json.dumps(told, indent=1) + "\n").encode())

    def _what(self, job: Job) -> dict[str, Any]:
        source = {"source": [job.source.name, *fingerprint_of(job.source)]}
        return _made(json.loads(json.dumps({**source, **self._made_of})))


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """In which ways a film was made otherwise."""
    said = []
    if found.get("source") != wanted.get("source"):
        said.append("of another source, or this one before it changed")
    if found.get("bundle") != wanted.get("bundle"):
        said.append("by another bundle")
    own, now = (made.get("options", {}) for made in (found, wanted))
    differ = [name for name in sorted({*own, *now}) if own.get(name) != now.get(name)]
    if differ:
        had = ", ".join(_option(name, own.get(name)) for name in differ)
        said.append(
            f"with {had} where now {', '.join(_option(name, now.get(name)) for name in differ)} is asked for"
        )
    return said or ["otherwise"]


def _option(name: str, value: Any) -> str:
    """An option as it is typed."""
    typed = f"--{name.replace('_', '-')}"
    if value is None or value is False or value == []:  # 0 is a value: --crf 0
        return f"no {typed}"
    return (
        typed
        if value is True
        else f"{typed} {' '.join(map(str, value)) if isinstance(value, list) else value}"
    )


def _read(place: Path) -> dict[str, Any]:
    alone = f"{place} is in the way, and is not edgeflow's: move it, or choose another folder"
    try:
        data = read_json(place)
    except (OSError, BundleError) as error:
        raise VideoError(alone) from error
    if next(_SCHEMA(data, ""), None) or data["format"] != _FORMAT:
        raise VideoError(alone)
    return {name: _made(made) for name, made in data["films"].items() if isinstance(made, dict)}


def _made(of: Mapping[str, Any]) -> dict[str, Any]:
    """What a film was made of, without options that say what holds anyway."""
    options = of.get("options", {}).items()
    given = {
        name: value for name, value in options if not (value is None or value is False or value in _ANYWAY)
    }
    return {**of, "options": given}


@dataclass(frozen=True)
class Outcome:
    """What became of a folder's films, by their names.

    Attributes:
        done: made now.
        skipped: done before.
        failed: why each could not be made.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)
