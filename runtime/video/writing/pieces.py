"""A film's pieces while it is being made: whatever stops the making, what is done stays and is gone on with.

    OUTPUT.parts/state.json   what is made of what, and which pieces are whole
    OUTPUT.parts/00000.nut    encoded pictures, each piece from a key picture on

A piece is whole once the state names it. The folder is removed when the film is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle.json_file import read_json
from edgeflow.ir.bundle.schema import each, nullable, plain, record, text, whole
from edgeflow.ir.errors import BundleError, VideoError
from edgeflow.runtime.video.writing.parts_folder import PartsFolder

FRAMES = 120
"""Frames of a piece: half the distance that encoders keep between key pictures anyway."""

AHEAD = 10_000_000
"""Ticks that a piece's times are ahead, so that none is negative: decoding begins before the first picture is shown."""

_FORMAT = "edgeflow-film-parts"


@dataclass(frozen=True)
class Piece:
    """A whole piece.

    Attributes:
        file: its name.
        frames: of the source that are done at its end.
        scene: first frame of the scene that is open there.
        written: pictures in it.
    """

    file: str
    frames: int
    scene: int
    written: int


@dataclass(frozen=True)
class State:
    """What is done.

    Attributes:
        made_of: what the pictures depend on: source, bundle, settings.
        pieces: whole ones, in order.
        partial: size and SHA-256 of the film that was last joined, and has, or was to have, the output's name.
    """

    made_of: Mapping[str, Any]
    pieces: tuple[Piece, ...] = ()
    partial: tuple[int, str] | None = None

    @property
    def frames(self) -> int:
        """Frames of the source that are done."""
        return self.pieces[-1].frames if self.pieces else 0


_PIECE = record(
    {
        "file": text(20, r"\d{5}\.nut"),
        "frames": whole(0, 1 << 40),
        "scene": whole(0, 1 << 40),
        "written": whole(1, 1 << 40),
    }
)
_SCHEMA = record(
    {"format": text(40), "made_of": plain(4), "pieces": each(_PIECE, 100_000), "partial": nullable(plain(1))}
)


class Parts(PartsFolder):
    """The folder of a film that one run makes from its beginning to its end.

    Args:
        output: the film to be.
    """

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self.state = State({})

    def begin(self, made_of: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
        """Make the folder, or go on with it.

        Raises:
            VideoError: it holds something else, another film's pieces, or an earlier run's that were not asked for.
        """
        if not self.folder.exists():
            if resume:
                raise VideoError(f"{self.folder} is not there: nothing was begun; leave --resume out")
            self._begin(made_of)
            return
        found = self._read()
        if resume:
            self.check_same(found.made_of, made_of, "without --resume and with --overwrite")
            self.state = replace(found, pieces=self._whole(found.pieces))
        elif overwrite or not found.pieces:
            self.remove()
            self._begin(made_of)
        else:
            raise VideoError(
                f"{self.folder} holds {found.frames} frames that an earlier run made: go on with --resume, or begin anew with --overwrite"
            )

    def next_piece(self) -> Path:
        """Where the next piece goes."""
        return self.folder / f"{len(self.state.pieces):05d}.nut"

    def add(self, piece: Piece) -> None:
        """A piece is whole."""
        self._save(replace(self.state, pieces=(*self.state.pieces, piece)))

    def paths(self) -> list[Path]:
        """The whole pieces."""
        return [self.folder / piece.file for piece in self.state.pieces]

    def note_joined(self, film: Path) -> None:
        """This film is about to have the output's name: what is done so far, which may be replaced by more of it."""
        self._save(replace(self.state, partial=known_by(film)))

    def owns_output(self) -> bool:
        """Whether the output is what an earlier, unfinished run of this film left."""
        return (
            self.state.partial is not None
            and self.output.is_file()
            and known_by(self.output) == self.state.partial
        )

    def _begin(self, made_of: Mapping[str, Any]) -> None:
        self.make()
        self._save(State(made_of))

    def _save(self, state: State) -> None:
        self.save("state.json", {"format": _FORMAT, **asdict(state)})
        self.state = state

    def _read(self) -> State:
        if (self.folder / "spans.json").exists():
            raise VideoError(
                f"{self.folder} is of `edgeflow batch`: go on with that, or choose another output"
            )
        try:
            data = read_json(self.folder / "state.json")
        except (OSError, BundleError) as error:
            raise self.foreign() from error
        if next(_SCHEMA(data, ""), None) or data["format"] != _FORMAT:
            raise self.foreign()
        partial = data["partial"]
        return State(
            data["made_of"],
            tuple(Piece(**piece) for piece in data["pieces"]),
            (partial[0], partial[1]) if isinstance(partial, list) and len(partial) == 2 else None,
        )

    def _whole(self, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
        """The pieces that are there, up to the first that is not."""
        there = []
        for piece in pieces:
            if not (self.folder / piece.file).is_file():
                break
            there.append(piece)
        return tuple(there)


def fingerprint_of(source: Path) -> list[Any]:
    """What a source is known by: a file's size and time, a folder's names and sizes."""
    if source.is_dir():
        names = sorted((path.name, path.stat().st_size) for path in source.iterdir() if path.is_file())
        return ["folder", sha256(json.dumps(names).encode()).hexdigest()]
    status = source.stat()
    return [status.st_size, status.st_mtime_ns]


def known_by(path: Path) -> tuple[int, str]:
    """What a film is known by: its size and SHA-256."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return path.stat().st_size, digest.hexdigest()
