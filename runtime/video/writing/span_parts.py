"""A film's pieces while its spans are being made by several workers, in whatever order.

    OUTPUT.parts/spans.json   the spans, and what the film is made of
    OUTPUT.parts/00012.nut    encoded pictures of span 12
    OUTPUT.parts/00012.json   how many these are, and what they took: a piece is whole once this is there
    OUTPUT.parts/joined.json  size and SHA-256 of the film that has, or was to have, the output's name

Whoever made a piece, and whatever was killed since, it is not made again. The folder is removed when the film is whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from edgeflow.ir.bundle.json_file import read_json
from edgeflow.ir.bundle.schema import each, nullable, number, plain, record, table, text, truth, whole
from edgeflow.ir.errors import BundleError, VideoError
from edgeflow.runtime.video.spans import Span
from edgeflow.runtime.video.writing.parts_folder import PartsFolder
from edgeflow.runtime.video.writing.pieces import known_by

_FORMAT = "edgeflow-film-spans"
_MOST = 100_000
_FRAME = whole(0, 1 << 40)


@dataclass(frozen=True)
class Plan:
    """How a film is made by several.

    Attributes:
        made_of: what the pictures depend on: source, bundle, settings.
        frames: of the source.
        cuts: scene cuts in it.
        spans: it is made in.
        truncated: whether the source's end is missing.
        remarks: what the user should know, one line each.
    """

    made_of: Mapping[str, Any]
    frames: int
    cuts: int
    spans: tuple[Span, ...]
    truncated: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """A piece that is whole.

    Attributes:
        written: pictures in it.
        routes: how many patches took each route.
        seconds: that making it took.
        infer_seconds: of these, waiting for the session.
    """

    written: int
    routes: Mapping[str, int]
    seconds: float
    infer_seconds: float


_SPAN = record(
    {
        "number": whole(0, _MOST),
        "start": _FRAME,
        "first": _FRAME,
        "end": nullable(_FRAME),
        "stop": nullable(_FRAME),
        "scene": _FRAME,
        "cuts": each(_FRAME, _MOST),
        "before": each(text(60, r"-?\d+(/\d+)?"), 100),
    }
)
_PLAN = record(
    {
        "format": text(40),
        "made_of": plain(4),
        "frames": _FRAME,
        "cuts": _FRAME,
        "spans": each(_SPAN, _MOST),
        "truncated": truth,
        "remarks": each(text(10_000), 1000),
    }
)
_WHOLE = record(
    {
        "written": _FRAME,
        "routes": table(text(1000), _FRAME, 10_000),
        "seconds": number(0),
        "infer_seconds": number(0),
    }
)


class SpanParts(PartsFolder):
    """The folder of a film that several make in spans.

    Args:
        output: the film to be.
    """

    def plan(self) -> Plan | None:
        """What an earlier run planned; None if there was none.

        Raises:
            VideoError: the folder is not of a film that is made in spans.
        """
        place = self.folder / "spans.json"
        if not self.folder.exists() or not (place.exists() or any(self.folder.iterdir())):
            return None
        if (self.folder / "state.json").exists():
            raise VideoError(
                f"{self.folder} is of `edgeflow run`: go on with that, or begin anew with --overwrite"
            )
        data = _read(place, _PLAN)
        if data is None or data.pop("format") != _FORMAT:
            raise self.foreign()
        spans = tuple(_span(span) for span in data["spans"])
        return Plan(**{**data, "spans": spans, "remarks": tuple(data["remarks"])})

    def begin(self, plan: Plan) -> None:
        """Keep a film's plan.

        Raises:
            VideoError: it cannot be written.
        """
        spans = [
            {**asdict(span), "cuts": list(span.cuts), "before": list(map(str, span.before))}
            for span in plan.spans
        ]
        told = {"format": _FORMAT, **asdict(replace(plan, spans=())), "spans": spans}
        self.make()
        self.save("spans.json", told)

    def path(self, span: int) -> Path:
        """Where the piece of a span lies."""
        return self.folder / f"{span:05d}.nut"

    def temporary(self, span: int) -> Path:
        """Where a process makes it; several may be at it, if one was taken for dead."""
        return self.folder / f"{span:05d}.{os.uname().nodename}-{os.getpid()}.part"

    def add(self, span: int, made: Path, whole: Whole) -> None:
        """A piece is whole.

        Raises:
            VideoError: that cannot be written.
        """
        made.replace(self.path(span))
        self.save(f"{span:05d}.json", asdict(whole))

    def whole(self) -> dict[int, Whole]:
        """The whole pieces, by the numbers of their spans."""
        found = {}
        for place in sorted(self.folder.glob("[0-9][0-9][0-9][0-9][0-9].json")):
            data = _read(place, _WHOLE)
            if data is not None and place.with_suffix(".nut").is_file():
                found[int(place.stem)] = Whole(**data)
        return found

    def note_joined(self, film: Path) -> None:
        """This film is about to have the output's name."""
        self.save("joined.json", {"film": list(known_by(film))})

    def owns_output(self) -> bool:
        """Whether the output is what an earlier run joined of these pieces, and was killed before it had removed them."""
        data = _read(self.folder / "joined.json", record({"film": plain(1)}))
        return data is not None and self.output.is_file() and data["film"] == list(known_by(self.output))


def _span(data: Mapping[str, Any]) -> Span:
    return Span(
        **{**data, "cuts": tuple(data["cuts"]), "before": tuple(Fraction(time) for time in data["before"])}
    )


def _read(place: Path, schema: Any) -> dict[str, Any] | None:
    """What a file of ours says; None if it is not there, or none of ours."""
    try:
        data = read_json(place)
    except (OSError, BundleError):
        return None
    if next(schema(data, ""), None):
        return None
    said: dict[str, Any] = data
    return said
