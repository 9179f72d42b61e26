"""How a bundle runs best on one machine, as `edgeflow tune` found it.

It lies in the bundle as `profile/tuned/KEY.json`, one file for each processor, and is not among the manifest's files.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeflow.ir.errors import BundleError
from edgeflow.ir.files import write_atomically
from edgeflow.ir.manifest_file import read_json
from edgeflow.ir.schema import each, number, record, text, whole

FOLDER = Path("profile") / "tuned"
_ADVICE = "let go of it by `edgeflow tune --forget`"


@dataclass(frozen=True)
class Tuned:
    """What a command uses where nothing else is asked for.

    Attributes:
        library: engine library.
        threads: CPU threads.
        fix: decisions that are fixed, each as `axis=value`.
        quality: weight of quality against time; None if it is not steered by that.
    """

    library: str
    threads: int
    fix: tuple[str, ...] = ()
    quality: float | None = None

    @property
    def options(self) -> str:
        """As they are given on the command line."""
        steered = [f"--fix {word}" for word in self.fix]
        steered += [] if self.quality is None else [f"--quality {self.quality:g}"]
        return " ".join([f"--library {self.library} --threads {self.threads}", *steered])


_SCHEMA = record(
    {
        "library": text(100),
        "threads": whole(1, 1 << 20),
        "fix": each(text(200), 100_000),
    },
    {"quality": number(0, 1)},
)


def save_tuned(bundle: Path, processor: str, tuned: Tuned) -> Path:
    """Keep a setting in a bundle, for one processor.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    path = _place(bundle, processor)
    data = {name: value for name, value in asdict(tuned).items() if value is not None}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(
            f"cannot write {path.parent}: {error.strerror}; make the bundle writable"
        ) from error
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())
    return path


def load_tuned(bundle: Path, processor: str) -> Tuned | None:
    """The setting kept for this processor, or None.

    Raises:
        BundleError: the file is damaged.
    """
    path = _place(bundle, processor)
    if not path.exists():
        return None
    try:
        data = read_json(path, _ADVICE)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): {_ADVICE}") from error
    if fault := next(_SCHEMA(data, ""), None):
        raise BundleError(f"{path} is damaged ({fault}); {_ADVICE}")
    return Tuned(data["library"], data["threads"], tuple(data["fix"]), data.get("quality"))


def forget_tuned(bundle: Path, processor: str) -> bool:
    """Let go of the setting kept for this processor, even a damaged one; whether there was one.

    Raises:
        BundleError: the bundle cannot be written to.
    """
    path = _place(bundle, processor)
    if not path.exists():
        return False
    try:
        path.unlink()
    except OSError as error:
        raise BundleError(f"cannot remove {path}: {error.strerror}; make the bundle writable") from error
    return True


def _place(bundle: Path, processor: str) -> Path:
    key = re.sub(r"[^a-z0-9.]+", "-", processor.lower()).strip("-")
    return bundle / FOLDER / f"{key}.json"
