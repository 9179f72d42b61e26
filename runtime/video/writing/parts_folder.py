"""The folder of a film's pieces while it is being made, `OUTPUT.parts`, whoever makes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeflow.ir.errors import BundleError, VideoError
from edgeflow.ir.files import write_atomically

_OURS = re.compile(r"\d{5}\.(nut|json|[^/]*\.part)|joined\..*|(spans|state)\.json")

_ASKED_BY = {
    "source": "source (or it changed)",
    "size": "size of pictures",
    "rate": "--times or --fps",
    "codec": "--codec, --crf, --bitrate or --bits",
    "start": "--start",
    "frames": "--frames",
    "bundle": "bundle (or it changed)",
    "policy": "--fix, --policy or --quality",
    "spread": "--spread",
    "masks": "--overlay",
    "overlay": "--overlay",
    "deinterlace": "--deinterlace",
}
"""What the user gave, by what pictures depend on (`Assembly.made_of`)."""


class PartsFolder:
    """A folder beside a film that is to be.

    Args:
        output: the film.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.parts")

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            VideoError: that cannot be.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise VideoError(
                f"{self.output}: cannot be written: {error.strerror}; choose another place"
            ) from error

    def save(self, name: str, data: Any) -> None:
        """Write a file of JSON.

        Raises:
            VideoError: it cannot be written.
        """
        try:
            write_atomically(self.folder / name, (json.dumps(data) + "\n").encode())
        except BundleError as error:
            raise VideoError(str(error)) from error

    def foreign(self) -> VideoError:
        """What to say where the folder holds something else."""
        return VideoError(
            f"{self.folder} is in the way, and is not edgeflow's: move it, or choose another output"
        )

    def check_same(self, found: Mapping[str, Any], wanted: Mapping[str, Any], anew: str) -> None:
        """Refuse to go on with pieces of another film.

        Args:
            found: what they depend on (`Assembly.made_of`).
            wanted: what is made now.
            anew: how to begin anew.

        Raises:
            VideoError: names what was asked for otherwise.
        """
        if found == wanted:
            return
        before, now = _asked(found), _asked(wanted)
        differ = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)] or ["codec"]
        told = "; ".join(dict.fromkeys(_told(name, before.get(name), now.get(name)) for name in differ))
        raise VideoError(
            f"{self.folder} is of another run, with other {told}: give the same command, or begin anew {anew}"
        )

    def remove(self) -> None:
        """Let go of the pieces; files that are not ours stay."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def _asked(made_of: Mapping[str, Any]) -> dict[str, Any]:
    """What pictures depend on, by name; of the encoder what does not follow from the rest."""
    codec, settings = made_of.get("codec"), made_of.get("settings")
    asked = {name: value for name, value in made_of.items() if name != "settings"}
    if isinstance(codec, list) and codec and isinstance(codec[-1], dict):
        own = {key: value for key, value in codec[-1].items() if key not in ("maxrate", "bufsize")}
        asked["codec"] = [*codec[:-1], own]
    return asked | (settings if isinstance(settings, dict) else {})


def _told(name: str, before: Any, now: Any) -> str:
    """What differs, as the user knows it; with its values where these are words."""
    asked = _ASKED_BY.get(name, name)
    if name != "policy":
        return asked
    was, is_ = (" ".join(map(str, words)) if words else "none" for words in (before, now))
    return f"{asked} ({was} before, {is_} now)"
