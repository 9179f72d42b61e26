"""The folder of a film's pieces while it is being made, `OUTPUT.parts`, whoever makes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edgeflow.ir.errors import BundleError, VideoError
from edgeflow.ir.files import write_atomically

_OURS = re.compile(r"\d{5}\.(nut|json|[^/]*\.part)|joined\..*|(spans|state)\.json")


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

    def remove(self) -> None:
        """Let go of the pieces; files that are not ours stay."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()
